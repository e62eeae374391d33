/*
 * Copyright (C) The Astro authors
 *
 * A picker of emoji, for people with a keyboard, a screen reader or a mouse.
 * README.md beside it says how it is used.
 */

/*
 * [emoji, name, words to be found by].  T stands where a skin tone may: what
 * is chosen is a whole sequence, with its joiners and selectors, always.
 */
const GROUPS = [
    ['Faces', [
        ['😀', 'grinning face', 'smile happy'],
        ['😁', 'beaming face', 'grin happy'],
        ['😂', 'face with tears of joy', 'laugh lol'],
        ['🤣', 'rolling on the floor laughing', 'rofl'],
        ['😊', 'smiling face with smiling eyes', 'blush'],
        ['😇', 'smiling face with halo', 'angel'],
        ['🙂', 'slightly smiling face', ''],
        ['😉', 'winking face', ''],
        ['😍', 'smiling face with heart-eyes', 'love'],
        ['😘', 'face blowing a kiss', 'love'],
        ['😎', 'smiling face with sunglasses', 'cool'],
        ['🤔', 'thinking face', 'hmm'],
        ['😮', 'face with open mouth', 'surprise'],
        ['😮‍💨', 'face exhaling', 'sigh relief'],
        ['😢', 'crying face', 'sad tear'],
        ['😭', 'loudly crying face', 'sad sob'],
        ['😡', 'enraged face', 'angry'],
        ['😱', 'face screaming in fear', 'scared'],
        ['😴', 'sleeping face', 'tired'],
        ['😵‍💫', 'face with spiral eyes', 'dizzy'],
        ['🥰', 'smiling face with hearts', 'love'],
        ['🥺', 'pleading face', 'please'],
        ['😌', 'relieved face', 'calm'],
        ['😔', 'pensive face', 'sad'],
    ]],
    ['Hands', [
        ['👍T', 'thumbs up', 'yes good like'],
        ['👎T', 'thumbs down', 'no bad'],
        ['🙏T', 'folded hands', 'namaste please thanks pray'],
        ['👋T', 'waving hand', 'hello bye'],
        ['👌T', 'OK hand', 'fine'],
        ['✌T️', 'victory hand', 'peace'],
        ['🤞T', 'crossed fingers', 'luck'],
        ['👏T', 'clapping hands', 'bravo'],
        ['🙌T', 'raising hands', 'hooray'],
        ['💪T', 'flexed biceps', 'strong'],
        ['🤝', 'handshake', 'deal'],
        ['✍T️', 'writing hand', ''],
        ['🤲T', 'palms up together', 'pray'],
    ]],
    ['People', [
        ['👶T', 'baby', 'child'],
        ['👩T', 'woman', ''],
        ['👨T', 'man', ''],
        ['🧓T', 'older person', ''],
        ['👩T‍💻', 'woman technologist', 'computer work'],
        ['👨T‍💻', 'man technologist', 'computer work'],
        ['👩T‍🎓', 'woman student', 'exam study'],
        ['👨T‍🎓', 'man student', 'exam study'],
        ['👩T‍⚕️', 'woman health worker', 'doctor'],
        ['👨T‍⚕️', 'man health worker', 'doctor'],
        ['🧘T‍♀️', 'woman in lotus position', 'yoga meditation'],
        ['🧘T‍♂️', 'man in lotus position', 'yoga meditation'],
        ['🤷T‍♀️', 'woman shrugging', 'dunno'],
        ['🤷T‍♂️', 'man shrugging', 'dunno'],
        ['🤦T‍♀️', 'woman facepalming', ''],
        ['🤦T‍♂️', 'man facepalming', ''],
        ['👰T', 'person with veil', 'wedding bride'],
        ['🤵T', 'person in tuxedo', 'wedding groom'],
        ['👨‍👩‍👧‍👦', 'family: man, woman, girl, boy', 'parents children'],
        ['👨‍👩‍👧', 'family: man, woman, girl', 'parents child'],
        ['👩‍👦', 'family: woman, boy', 'mother son'],
        ['👩‍❤️‍👨', 'couple with heart: woman, man', 'love marriage'],
    ]],
    ['Sky', [
        ['⭐', 'star', 'astrology'],
        ['🌟', 'glowing star', ''],
        ['✨', 'sparkles', 'magic'],
        ['☀️', 'sun', ''],
        ['🌙', 'crescent moon', ''],
        ['🌕', 'full moon', ''],
        ['🌑', 'new moon', ''],
        ['🪐', 'ringed planet', 'saturn'],
        ['🔮', 'crystal ball', 'future reading'],
        ['♈', 'Aries', 'zodiac sign'],
        ['♉', 'Taurus', 'zodiac sign'],
        ['♊', 'Gemini', 'zodiac sign'],
        ['♋', 'Cancer', 'zodiac sign'],
        ['♌', 'Leo', 'zodiac sign'],
        ['♍', 'Virgo', 'zodiac sign'],
        ['♎', 'Libra', 'zodiac sign'],
        ['♏', 'Scorpio', 'zodiac sign'],
        ['♐', 'Sagittarius', 'zodiac sign'],
        ['♑', 'Capricorn', 'zodiac sign'],
        ['♒', 'Aquarius', 'zodiac sign'],
        ['♓', 'Pisces', 'zodiac sign'],
        ['🕉️', 'om', 'hindu'],
        ['🌈', 'rainbow', ''],
    ]],
    ['Hearts and things', [
        ['❤️', 'red heart', 'love'],
        ['🧡', 'orange heart', 'love'],
        ['💛', 'yellow heart', 'love'],
        ['💚', 'green heart', 'love'],
        ['💙', 'blue heart', 'love'],
        ['💜', 'purple heart', 'love'],
        ['❤️‍🔥', 'heart on fire', 'love passion'],
        ['❤️‍🩹', 'mending heart', 'recovery'],
        ['💔', 'broken heart', 'sad'],
        ['💯', 'hundred points', 'perfect'],
        ['🔥', 'fire', ''],
        ['🎉', 'party popper', 'congratulations'],
        ['🎂', 'birthday cake', ''],
        ['🌹', 'rose', 'flower'],
        ['🪷', 'lotus', 'flower'],
        ['🪔', 'diya lamp', 'diwali'],
        ['💰', 'money bag', ''],
        ['🏠', 'house', 'home'],
        ['✅', 'check mark', 'yes done'],
        ['❓', 'question mark', ''],
        ['🏳️‍🌈', 'rainbow flag', 'pride'],
        ['🇮🇳', 'flag: India', ''],
    ]],
];

const TONES = [['', 'no skin tone'], ['🏻', 'light'], ['🏼', 'medium-light'],
    ['🏽', 'medium'], ['🏾', 'medium-dark'], ['🏿', 'dark']];

const COLUMNS = 8;

const STYLE = `
:host { display: block; width: 22em; max-width: 100%; font: inherit;
        background: Canvas; color: CanvasText; border: 1px solid GrayText;
        border-radius: 6px; padding: 8px; box-sizing: border-box; }
:host([hidden]) { display: none; }
.top { display: flex; gap: 6px; }
input { flex: 1; min-width: 0; font: inherit; padding: 4px; }
select { font: inherit; }
.grid { height: 14em; overflow-y: auto; margin-top: 6px; }
.title { font-size: .85em; padding: 4px 2px; }
.row { display: flex; }
.cell { width: 12.5%; aspect-ratio: 1; display: grid; place-items: center;
        font-size: 1.4em; cursor: pointer; border-radius: 4px;
        box-sizing: border-box; }
.cell:focus { outline: 3px solid Highlight; outline-offset: -3px; }
.status { position: absolute; width: 1px; height: 1px; overflow: hidden;
          clip-path: inset(50%); }
`;


/*
 * A tone takes the place of the selector that asks for colour: what has both is
 * no sequence that fonts know.
 */
export function toned(emoji, tone) {
    return tone ? emoji.replace(/T\uFE0F?/u, tone) : emoji.replace('T', '');
}


/* [{group, emoji, name}] whose name or words begin with all that is asked. */
export function find(query, tone = '') {
    const asked = query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];

    for (const [group, list] of GROUPS) {
        for (const [emoji, name, words] of list) {
            const known = `${name} ${words}`.toLowerCase().split(/[\s:,-]+/);

            if (asked.every((a) => known.some((k) => k.startsWith(a)))) {
                found.push({group, emoji: toned(emoji, tone), name});
            }
        }
    }

    return found;
}


function make(kind, attributes = {}, ...inside) {
    const node = document.createElement(kind);

    for (const [name, value] of Object.entries(attributes)) {
        node.setAttribute(name, value);
    }

    node.append(...inside);

    return node;
}


/*
 * Events: "emoji" with detail {emoji, name}; "dismiss" when Escape is pressed.
 * All that is inside is made here, from the tables above, as text.
 */
export class EmojiPicker extends HTMLElement {
    #search = make('input', {type: 'search', 'aria-label': 'Search emoji',
        'aria-controls': 'grid', autocomplete: 'off'});
    #tone = make('select', {'aria-label': 'Skin tone'});
    #grid = make('div', {id: 'grid', class: 'grid', role: 'grid',
        'aria-label': 'Emoji'});
    #status = make('div', {class: 'status', role: 'status'});
    #rows = [];

    constructor() {
        super();

        const root = this.attachShadow({mode: 'open', delegatesFocus: true});
        const sheet = new CSSStyleSheet();

        sheet.replaceSync(STYLE);
        root.adoptedStyleSheets = [sheet];

        for (const [tone, name] of TONES) {
            this.#tone.append(make('option', {value: tone},
                `${tone ? `✋${tone} ` : ''}${name}`));
        }

        root.append(make('div', {class: 'top'}, this.#search, this.#tone),
            this.#grid, this.#status);

        this.#search.addEventListener('input', () => this.#show());
        this.#tone.addEventListener('change', () => this.#show());
        this.#grid.addEventListener('click', (e) => {
            this.#choose(e.target.closest('.cell'));
        });
        this.#grid.addEventListener('focusin', (e) => this.#roam(e.target));
        root.addEventListener('keydown', (e) => this.#key(e));

        this.#show();
    }

    connectedCallback() {
        if (!this.hasAttribute('role')) {
            this.setAttribute('role', 'dialog');
            this.setAttribute('aria-label', 'Emoji');
        }
    }

    /* To where somebody who opened it wants to be; all is shown again. */
    focus() {
        this.#search.value = '';
        this.#show();
        this.#search.focus();
    }

    #show() {
        const found = find(this.#search.value, this.#tone.value);
        const inside = [];
        let group, row;

        this.#rows = [];

        for (const one of found) {
            if (one.group !== group) {
                group = one.group;
                row = null;
                inside.push(make('div', {class: 'title',
                    role: 'presentation'}, group));
            }

            if (!row || row.length === COLUMNS) {
                row = [];
                this.#rows.push(row);
                row.node = make('div', {class: 'row', role: 'row'});
                inside.push(row.node);
            }

            const cell = make('div', {class: 'cell', role: 'gridcell',
                tabindex: '-1', 'aria-label': one.name, title: one.name},
            one.emoji);

            row.push(cell);
            row.node.append(cell);
        }

        this.#grid.replaceChildren(...inside);
        this.#status.textContent = found.length === 1 ? '1 emoji'
            : `${found.length} emoji`;

        if (found.length) {
            this.#rows[0][0].tabIndex = 0;
        }
    }

    /* One cell can be reached with Tab: the one that was reached last. */
    #roam(cell) {
        if (!cell.classList.contains('cell')) {
            return;
        }

        for (const other of this.#grid.querySelectorAll('[tabindex="0"]')) {
            other.tabIndex = -1;
        }

        cell.tabIndex = 0;
    }

    #choose(cell) {
        if (cell) {
            this.dispatchEvent(new CustomEvent('emoji', {bubbles: true,
                composed: true, detail: {emoji: cell.textContent,
                    name: cell.getAttribute('aria-label')}}));
        }
    }

    #key(e) {
        if (e.isComposing) {
            return;
        }

        if (e.key === 'Escape') {
            e.preventDefault();
            this.dispatchEvent(new CustomEvent('dismiss', {bubbles: true,
                composed: true}));
            return;
        }

        if (e.target === this.#search && this.#rows.length) {

            if (e.key === 'ArrowDown') {
                e.preventDefault();
                this.#rows[0][0].focus();

            } else if (e.key === 'Enter') {
                e.preventDefault();
                this.#choose(this.#rows[0][0]);
            }

            return;
        }

        if (e.target.classList.contains('cell')) {
            this.#move(e);
        }
    }

    #move(e) {
        const cell = e.target;
        const y = this.#rows.findIndex((row) => row.includes(cell));
        const x = this.#rows[y].indexOf(cell);
        const all = this.#rows.flat();
        const i = all.indexOf(cell);
        const below = (row) => row && row[Math.min(x, row.length - 1)];
        let to;

        switch (e.key) {
        case 'ArrowRight': to = all[i + 1]; break;
        case 'ArrowLeft': to = all[i - 1]; break;
        case 'ArrowDown': to = below(this.#rows[y + 1]); break;
        case 'ArrowUp': to = y ? below(this.#rows[y - 1]) : this.#search; break;
        case 'Home': to = e.ctrlKey ? all[0] : this.#rows[y][0]; break;
        case 'End': to = e.ctrlKey ? all.at(-1) : this.#rows[y].at(-1); break;
        case 'Enter':
        case ' ':
            e.preventDefault();
            this.#choose(cell);
            return;
        default:
            return;
        }

        e.preventDefault();

        if (to) {
            to.focus();
        }
    }
}

customElements.define('emoji-picker', EmojiPicker);


/*
 * A button that opens a picker beside it for a text field.  What is chosen goes
 * to where the caret is, and the focus back to the field.
 */
export function attach(button, field) {
    const picker = new EmojiPicker();

    const open = (yes) => {
        picker.hidden = !yes;
        button.setAttribute('aria-expanded', `${yes}`);
    };

    button.setAttribute('aria-haspopup', 'dialog');
    button.after(picker);
    open(false);

    button.addEventListener('click', () => {
        open(picker.hidden);

        if (!picker.hidden) {
            picker.focus();
        }
    });

    picker.addEventListener('dismiss', () => {
        open(false);
        button.focus();
    });

    picker.addEventListener('emoji', (e) => {
        open(false);
        field.focus();
        field.setRangeText(e.detail.emoji, field.selectionStart,
            field.selectionEnd, 'end');
        field.dispatchEvent(new Event('input', {bubbles: true}));
    });

    return picker;
}
