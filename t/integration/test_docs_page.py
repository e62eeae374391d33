"""The page of the API, in a browser: from this host alone, and within its
Content-Security-Policy."""

import re

import pytest

from astro.browser import Browser
from astro.schema import document, operations
from astro.stack import eventually

WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (e) => {
    window.violations.push(`${e.violatedDirective} ${e.blockedURI}`);
});
"""


@pytest.fixture(scope='module')
def browser():
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()


def test_n10_the_page_and_all_it_needs(rest):
    page = rest.get('/docs/')
    assert page.status == 200, 'make docs makes it'
    assert page.headers['Content-Type'] == 'text/html; charset=utf-8'
    policy = page.headers['Content-Security-Policy']
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy and '//' not in policy
    assert page.headers['X-Content-Type-Options'] == 'nosniff'
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert {'swagger-ui-bundle.js', 'swagger-ui.css', 'docs.js'} <= set(assets)
    for asset in assets:
        if asset != 'data:,':
            assert re.fullmatch(r'[\w.-]+', asset), 'of another host'
            answer = rest.get(f'/docs/{asset}')
            assert answer.status == 200 and len(answer.body) > 100
            assert answer.headers.get_content_type() == (
                'text/css' if asset.endswith('css') else 'text/javascript')
    assert b'<script>' not in page.body and b'style=' not in page.body
    assert rest.get('/docs/nothing.js').status == 404


def test_n10_a_browser_shows_all_of_it(stack, browser):
    page = browser.page(f'https://127.0.0.1:{stack.port}/docs/')
    page.call('Page.addScriptToEvaluateOnNewDocument', source=WATCH)
    page.call('Page.reload')
    tags = {tag for _, _, op in operations() for tag in op['tags']}
    eventually(lambda: page.get('window.violations !== undefined &&'
                                ' document.querySelectorAll('
                                '".opblock-tag").length') == len(tags), 20)
    frames = document()['x-websocket']
    assert page.get('document.querySelectorAll("#websocket details").length') \
        == sum(len(frames[k]) for k in ('requests', 'events', 'schemas'))

    # a theme, and one of its operations, opened
    page.get('document.querySelector("[data-tag=wallet]").click()')
    eventually(lambda: page.get('document.querySelectorAll(".opblock").length')
               == len([1 for _, _, op in operations()
                       if op['tags'] == ['wallet']]), 10)
    page.get('document.querySelector(".opblock-summary-control").click()')
    eventually(lambda: page.get('!!document.querySelector('
                                '".responses-table")'), 10)

    assert page.get('window.violations') == []
    asked = page.get('performance.getEntriesByType("resource")'
                     '.map((e) => e.name)')
    assert len(asked) >= 4
    assert [url for url in asked if not url.startswith(
        (f'https://127.0.0.1:{stack.port}/', 'data:'))] == []
    page.close()
