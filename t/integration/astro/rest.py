"""HTTPS requests against the REST API, with nothing done behind one's back."""

import http.client
import json
import ssl

from .schema import check_answer
from .seen import seen


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers          # http.client.HTTPMessage
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The error code of a problem document, None for anything else."""
        if self.headers.get_content_type() != 'application/problem+json':
            return None
        return self.json.get('code')

    def __repr__(self):
        return f'<{self.status} {self.body[:200]!r}>'


class Rest:
    """One new connection for each request, so a reload cuts none."""

    def __init__(self, port, cafile, host='127.0.0.1', timeout=15):
        self.host, self.port, self.timeout = host, port, timeout
        self.documented = True          # False: answers are a test's own
        self.tls = ssl.create_default_context(cafile=cafile)

    def connection(self):
        return http.client.HTTPSConnection(self.host, self.port,
                                           timeout=self.timeout,
                                           context=self.tls)

    def call(self, method, path, body=None, token=None, headers=None,
             content_type='application/json'):
        """body: a dict or list as JSON, anything else as it is."""
        send = dict(headers or {})
        if token is not None:
            send['Authorization'] = f'Bearer {token}'
        if body is not None:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
            if content_type:
                send['Content-Type'] = content_type

        connection = self.connection()
        try:
            connection.request(method, path, body=body, headers=send,
                               encode_chunked='Transfer-Encoding' in send)
            response = connection.getresponse()
            answer = Response(response.status, response.headers,
                              response.read())
        finally:
            connection.close()

        # every answer of the whole suite is what the document says
        error = self.documented and check_answer(
            method, path, answer.status, answer.headers.get_content_type(),
            answer.body)
        assert not error, error
        seen(method, path, answer.status)
        return answer

    def get(self, path, token=None, **kw):
        return self.call('GET', path, token=token, **kw)

    def post(self, path, body=None, token=None, **kw):
        return self.call('POST', path, body=body, token=token, **kw)

    def login(self, email, password):
        answer = self.post('/api/auth/login',
                           {'email': email, 'password': password})
        assert answer.status == 200, answer
        return answer.json['token']
