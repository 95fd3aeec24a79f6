/** The style sheet of the element. All colors and measures that a site may want to change are custom properties. */
const css = `
:host {
	--accent: var(--illumichat-accent, #1f6f63);
	--on-accent: var(--illumichat-on-accent, #ffffff);
	--paper: var(--illumichat-background, #fbfaf8);
	--raised: var(--illumichat-surface, #ffffff);
	--ink: var(--illumichat-text, #1e2422);
	--muted: var(--illumichat-muted, #5d6662);
	--line: var(--illumichat-line, #dcdcd5);
	--edge: var(--illumichat-edge, #868e89);
	--tint: var(--illumichat-tint, #e3efeb);
	--alarm: var(--illumichat-alarm, #a3341f);
	--radius: var(--illumichat-radius, 1.125rem);

	position: relative;
	display: block;
	box-sizing: border-box;
	height: var(--illumichat-height, min(40rem, 85vh));
	color: var(--ink);
	font: 1rem/1.6 var(--illumichat-font, system-ui, sans-serif);
	text-align: start;
}

/* Where the page is dark, the element is, too. */
@supports (color: light-dark(#fff, #000)) {
	:host {
		--accent: var(--illumichat-accent, light-dark(#1f6f63, #7cc8b8));
		--on-accent: var(--illumichat-on-accent, light-dark(#ffffff, #0d1a17));
		--paper: var(--illumichat-background, light-dark(#fbfaf8, #151917));
		--raised: var(--illumichat-surface, light-dark(#ffffff, #1d2220));
		--ink: var(--illumichat-text, light-dark(#1e2422, #e5e9e6));
		--muted: var(--illumichat-muted, light-dark(#5d6662, #9ba59f));
		--line: var(--illumichat-line, light-dark(#dcdcd5, #333b37));
		--edge: var(--illumichat-edge, light-dark(#868e89, #727c76));
		--tint: var(--illumichat-tint, light-dark(#e3efeb, #22352f));
		--alarm: var(--illumichat-alarm, light-dark(#a3341f, #f0937d));
	}
}

:host([hidden]),
[hidden] {
	display: none !important;
}

:host([mode="page"]) {
	height: 100vh;
	height: var(--illumichat-viewport-height, 100dvh);
}

*,
::before,
::after {
	box-sizing: border-box;
}

:focus-visible {
	outline: 2px solid var(--accent);
	outline-offset: 2px;
}

.visually-hidden {
	position: absolute;
	width: 1px;
	height: 1px;
	margin: 0;
	overflow: hidden;
	clip-path: inset(50%);
	white-space: nowrap;
}

/* The panel. It all scrolls as one; the title and the box for a question stay where they are, if there is room. */

#panel {
	position: relative;
	height: 100%;
	background: var(--paper);
	container-type: size;
	/* Its width where that depends on the content, as in a dialog: the content of a container does not count. */
	contain-intrinsic-inline-size: 26rem;
}

:host(:not([mode])) #panel,
:host([mode="inline"]) #panel {
	border: 1px solid var(--line);
	border-radius: var(--radius);
	overflow: clip;
}

#scroller {
	display: flex;
	flex-direction: column;
	height: 100%;
	overflow-y: auto;
	overscroll-behavior: contain;
	scroll-padding-block: 4rem 8rem;
	overflow-wrap: anywhere;
}

#scroller:focus-visible {
	outline-offset: -2px;
}

/* The bars reach over the whole width, their content does not. */
.column {
	padding-inline: max(var(--gutter), env(safe-area-inset-left)) max(var(--gutter), env(safe-area-inset-right));

	--gutter: max(clamp(0.75rem, 4cqw, 2rem), (100% - var(--illumichat-width, 46rem)) / 2);
}

header {
	position: sticky;
	top: 0;
	z-index: 1;
	display: flex;
	align-items: center;
	gap: 0.5rem;
	padding-block: max(0.625rem, env(safe-area-inset-top)) 0.625rem;
	border-bottom: 1px solid var(--line);
	background: var(--paper);
}

.title {
	flex: 1;
	min-width: 0;
	margin: 0;
	font-size: 1rem;
	font-weight: 600;
	line-height: 1.4;
}

.content {
	flex: 1 0 auto;
	display: flex;
	flex-direction: column;
	padding-block: 1.25rem;
}

.foot {
	position: sticky;
	bottom: 0;
	z-index: 1;
	padding-block: 0.5rem max(0.625rem, env(safe-area-inset-bottom));
	background: var(--paper);
}

/* With little height, as at 400 % zoom or beside a keyboard, the whole height is the conversation's. */
@container (height < 30rem) {
	header,
	.foot {
		position: relative;
	}

	#scroller {
		scroll-padding-block: 0;
	}

	#keys {
		display: none;
	}
}

/* An empty conversation */

.welcome {
	display: none;
	margin: auto;
	padding-block: 1rem;
	text-align: center;
}

.empty .welcome {
	display: block;
}

.welcome p {
	margin: 0;
	color: var(--muted);
	text-wrap: balance;
	white-space: pre-line;
	unicode-bidi: plaintext;
}

.suggestions {
	display: flex;
	flex-wrap: wrap;
	justify-content: center;
	gap: 0.5rem;
	margin: 1.25rem 0 0;
	padding: 0;
	list-style: none;
}

/* The conversation */

.turn + .turn {
	margin-top: 2rem;
}

.asked {
	display: flex;
	align-items: flex-end;
	justify-content: flex-end;
	gap: 0.25rem;
}

.question {
	min-width: 0;
	max-width: 85%;
	padding: 0.5rem 1rem;
	border-radius: var(--radius);
	border-end-end-radius: 0.25rem;
	/* It is seen where the colors are the visitor's own. */
	border: 1px solid transparent;
	background: var(--tint);
	white-space: pre-wrap;
	unicode-bidi: plaintext;
}

.answer {
	margin-top: 1rem;
}

.answer[aria-busy="true"]::after {
	content: "";
	display: block;
	width: 0.625rem;
	height: 0.625rem;
	margin-block: 0.75rem;
	border: 0.3125rem solid var(--accent);
	border-radius: 50%;
}

@media (prefers-reduced-motion: no-preference) {
	.answer[aria-busy="true"]::after {
		animation: breathe 1.4s ease-in-out infinite;
	}
}

@keyframes breathe {
	50% {
		opacity: 0.25;
	}
}

.pause,
.note {
	margin-block: 0.75rem;
	color: var(--muted);
	font-size: 0.9375rem;
}

/* The text of an answer */

.text {
	margin-block: 0.75rem;
	unicode-bidi: plaintext;
}

.text > * {
	margin-block: 0.75rem;
}

.text > :first-child {
	margin-top: 0;
}

.text > :last-child {
	margin-bottom: 0;
}

.text :is(p, li, td, th, h3, h4, h5, h6) {
	unicode-bidi: plaintext;
}

/* Assistants mean the line breaks that they write, although Markdown takes them for spaces. */
.text :is(p, li) {
	white-space: pre-line;
}

.text :is(h3, h4, h5, h6) {
	margin-block: 1.25rem 0.5rem;
	font-size: 1rem;
	line-height: 1.4;
}

.text h3 {
	font-size: 1.1875rem;
}

.text h4 {
	font-size: 1.0625rem;
}

.text :is(ul, ol) {
	padding: 0;
}

/* Each item has its own direction, and its marker is on that side. */
.text li {
	margin-inline-start: 1.5rem;
}

.text li + li,
.text li > :is(ul, ol) {
	margin-top: 0.25rem;
}

.text li > p {
	margin-block: 0.375rem;
}

.text blockquote {
	margin-inline: 0;
	padding-inline-start: 1rem;
	border-inline-start: 3px solid var(--edge);
	color: var(--muted);
}

.text hr {
	border: 0;
	border-top: 1px solid var(--line);
}

a {
	color: var(--accent);
	text-underline-offset: 0.15em;
}

code,
pre {
	font-family: var(--illumichat-code-font, ui-monospace, monospace);
	font-size: 0.8125rem;
}

.text :not(pre) > code {
	padding: 0.125rem 0.25rem;
	border-radius: 0.25rem;
	background: var(--tint);
}

pre {
	margin: 0;
	overflow: auto;
	line-height: 1.5;
}

.code {
	position: relative;
	border: 1px solid var(--line);
	border-radius: 0.625rem;
	background: var(--raised);
	/* Code reads from left to right in every language. */
	direction: ltr;
}

.code .bar {
	display: flex;
	align-items: center;
	justify-content: space-between;
	gap: 0.5rem;
	padding: 0.25rem 0.25rem 0 0.875rem;
	color: var(--muted);
	font-size: 0.8125rem;
}

.code .copy {
	padding-block: 0;
	border-color: transparent;
	color: var(--muted);
	font-weight: 400;
}

.code pre {
	max-height: 32rem;
	padding: 0.25rem 0.875rem 0.75rem;
	tab-size: 4;
	overflow-wrap: normal;
}

.text .task {
	list-style: none;
}

.text .task .box {
	margin-inline: -1.375rem 0.25rem;
}

.table {
	max-width: 100%;
	overflow-x: auto;
}

table {
	border-collapse: collapse;
	font-size: 0.9375rem;
	overflow-wrap: normal;
}

th,
td {
	padding: 0.375rem 0.75rem;
	border: 1px solid var(--line);
	text-align: start;
}

th {
	background: var(--raised);
	font-weight: 600;
}

/* How an answer ended, and what can be done with it */

.end {
	display: flex;
	flex-wrap: wrap;
	align-items: center;
	gap: 0.25rem 0.75rem;
	margin-top: 0.5rem;
	color: var(--muted);
	font-size: 0.875rem;
}

.line {
	margin: 0;
}

.line:empty {
	display: none;
}

.stopped .line,
.failed .line {
	padding-inline-start: 0.75rem;
	border-inline-start: 3px solid var(--edge);
	font-size: 0.9375rem;
}

.failed .line {
	border-color: var(--alarm);
	color: var(--alarm);
}

.line code,
.left {
	color: var(--muted);
}

.left {
	font-variant-numeric: tabular-nums;
}

.actions {
	display: flex;
	flex-wrap: wrap;
	align-items: center;
	gap: 0.25rem;
}

.automatic {
	display: flex;
	align-items: center;
	gap: 0.375rem;
	min-height: 1.5rem;
}

.automatic input {
	width: 1.125rem;
	height: 1.125rem;
	margin: 0;
	accent-color: var(--accent);
}

/* Tools and sources */

.tool {
	margin-block: 0.75rem;
	color: var(--muted);
	font-size: 0.875rem;
}

summary {
	width: fit-content;
	max-width: 100%;
	min-height: 1.5rem;
	cursor: pointer;
}

.details {
	margin-top: 0.375rem;
	padding: 0.5rem 0.875rem;
	border: 1px solid var(--line);
	border-radius: 0.625rem;
	background: var(--raised);
}

.label {
	margin: 0;
	color: var(--muted);
	font-size: 0.8125rem;
}

.value {
	display: grid;
	grid-template-columns: minmax(0, 1fr) auto;
	align-items: center;
	margin-top: 0.375rem;
}

.value pre {
	grid-column: 1 / -1;
	max-height: 12rem;
	color: var(--ink);
	white-space: pre-wrap;
	order: 1;
}

.sources {
	margin-block: 0.75rem;
	font-size: 0.875rem;
}

.sources ol {
	margin: 0.25rem 0 0;
	padding-inline-start: 1.5rem;
}

.sources li {
	min-height: 1.5rem;
}

/* Buttons */

button {
	min-width: 1.75rem;
	min-height: 1.75rem;
	padding: 0.25rem 0.75rem;
	border: 1px solid var(--edge);
	border-radius: var(--radius);
	background: none;
	color: var(--accent);
	font: inherit;
	font-weight: 500;
	line-height: 1.4;
	cursor: pointer;
}

/* A button with a picture has no border, but has one where the colors are the visitor's own. */
button:has(> svg) {
	display: inline-grid;
	place-content: center;
	padding: 0.25rem;
	border-color: transparent;
	color: var(--muted);
}

button[aria-disabled="true"] {
	border-color: var(--line);
	color: var(--muted);
	cursor: default;
}

button:has(> svg):hover,
button[aria-pressed="true"] {
	color: var(--accent);
}

button[aria-pressed="true"] {
	background: var(--tint);
}

/* There, a background of the page's own is not seen. */
@media (forced-colors: active) {
	button[aria-pressed="true"]:has(> svg) {
		background: Highlight;
		color: HighlightText;
		forced-color-adjust: none;
	}
}

svg {
	width: 1.25rem;
	height: 1.25rem;
	fill: none;
	stroke: currentColor;
	stroke-width: 1.75;
	stroke-linecap: round;
	stroke-linejoin: round;
}

.newest {
	position: absolute;
	inset-block-start: -2.25rem;
	inset-inline: 0;
	width: 2rem;
	margin-inline: auto;
}

button.newest:has(> svg) {
	border-color: var(--edge);
	border-radius: 50%;
	background: var(--raised);
}

.suggestion {
	padding: 0.375rem 0.875rem;
	background: var(--raised);
	color: var(--ink);
	font-weight: 400;
	text-align: start;
}

.suggestion:hover {
	border-color: var(--accent);
}

/* The box for a question */

#composer .box {
	display: flex;
	align-items: flex-end;
	gap: 0.5rem;
	padding: 0.375rem;
	border: 1px solid var(--edge);
	border-radius: calc(var(--radius) + 0.25rem);
	background: var(--raised);
}

#composer .box:has(textarea:focus) {
	outline: 2px solid var(--accent);
	outline-offset: -1px;
}

textarea:focus-visible {
	outline: 0;
}

kbd {
	font: inherit;
}

/* Below 1rem phones zoom in when the box gets the focus. */
textarea {
	flex: 1;
	min-width: 0;
	max-height: min(12rem, 40cqh);
	padding: 0.375rem 0.625rem;
	border: 0;
	background: none;
	color: inherit;
	font: inherit;
	font-size: 1rem;
	resize: none;
	field-sizing: content;
	unicode-bidi: plaintext;
}

/* The browser would measure a long text with each key. */
textarea.long {
	height: min(12rem, 40cqh);
	field-sizing: fixed;
	unicode-bidi: isolate;
}

textarea::placeholder {
	color: var(--muted);
	opacity: 1;
}

#send,
#stop {
	padding: 0.375rem 1.125rem;
	border-color: var(--accent);
}

#send {
	background: var(--accent);
	color: var(--on-accent);
}

#send:disabled {
	border-color: var(--line);
	background: var(--line);
	color: var(--muted);
	cursor: default;
}

#keys,
.quota,
.editing {
	margin: 0.375rem 0 0;
	color: var(--muted);
	font-size: 0.8125rem;
	text-align: center;
}

.editing {
	margin: 0 0 0.375rem;
}

/* There, Enter makes a new line. */
@media (pointer: coarse) {
	#keys {
		display: none;
	}

	button {
		min-width: 2.25rem;
		min-height: 2.25rem;
	}
}

/* The bubble */

:host([mode="bubble"]) {
	position: fixed;
	inset-block-end: max(1rem, env(safe-area-inset-bottom));
	inset-inline-end: max(1rem, env(safe-area-inset-right));
	z-index: var(--illumichat-layer, 1000);
	height: auto;
}

:host([mode="bubble"]) #panel {
	width: min(26rem, 100vw - 2rem);
	height: min(var(--illumichat-height, 40rem), 100dvh - 6.5rem);
	margin-block-end: 0.75rem;
	border: 1px solid var(--line);
	border-radius: var(--radius);
	overflow: clip;
	box-shadow: 0 0.5rem 2rem rgb(0 0 0 / 20%);
}

:host([mode="bubble"]:not([open])) #panel {
	display: none;
}

.launcher {
	position: relative;
	display: grid;
	margin-inline-start: auto;
}

button.launcher:has(> svg) {
	width: 3.5rem;
	height: 3.5rem;
	border-radius: 50%;
	background: var(--accent);
	color: var(--on-accent);
	box-shadow: 0 0.25rem 1rem rgb(0 0 0 / 25%);
}

.launcher svg {
	width: 1.75rem;
	height: 1.75rem;
}

.news {
	position: absolute;
	top: 0;
	right: 0;
	width: 0.875rem;
	height: 0.875rem;
	border: 0.4375rem solid var(--alarm);
	border-radius: 50%;
}

/* On a small screen, an open bubble has all of it. */
@media (max-width: 30rem), (max-height: 30rem) {
	:host([mode="bubble"][open]) {
		inset: 0;
	}

	:host([mode="bubble"][open]) #panel {
		width: 100%;
		height: var(--illumichat-viewport-height, 100dvh);
		margin: 0;
		border: 0;
		border-radius: 0;
	}

	:host([mode="bubble"][open]) .launcher {
		display: none;
	}
}

/* On paper, there is the whole conversation, and nothing to press. */
@media print {
	:host,
	:host([mode="page"]),
	#panel,
	#scroller {
		display: block;
		height: auto !important;
		overflow: visible !important;
		container-type: normal;
	}

	:host([mode="bubble"]) {
		display: none;
	}

	#panel {
		border: 0 !important;
		background: none;
	}

	header {
		position: static;
		border: 0;
		background: none;
	}

	.foot,
	button,
	.automatic {
		display: none !important;
	}

	.content,
	.answer {
		display: block;
	}

	pre {
		max-height: none !important;
		white-space: pre-wrap;
	}

	.question,
	.code,
	tr {
		break-inside: avoid;
	}

	h2,
	h3,
	h4 {
		break-after: avoid;
	}
}
`;

/** All elements of a page share one sheet. @type {CSSStyleSheet | undefined} */
let sheet;

/**
 * Gives a shadow root its style. A style sheet that a script makes needs no exception in a Content-Security-Policy.
 *
 * @param {ShadowRoot} root
 */
export function applyStyle(root) {
	if (!sheet) {
		sheet = new CSSStyleSheet();
		sheet.replaceSync(css);
	}
	root.adoptedStyleSheets = [sheet];
}
