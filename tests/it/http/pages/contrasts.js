// WCAG 2.2: the contrast with its ground of each text (1.4.3: at least 4.5), of each field's border and of the focus
// (1.4.11: 3), as a part of what it must be.
const parse = colour => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return {r, g, b, a}; };
const light = ({r, g, b}) => [r, g, b].map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const ground = e => {
    const c = parse(getComputedStyle(e).backgroundColor);
    return c.a == 1 ? c : ground(e.parentElement);
};
const ratio = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + .05) / (low + .05);
};
const all = [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility());
const texts = all.filter(e => e.matches('input') || [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
const measured = texts.map(e => [e.outerHTML.slice(0, 60), ratio(parse(getComputedStyle(e).color), ground(e)) / 4.5]);
for (const e of document.querySelectorAll('input:not([type=hidden]):not([hidden])'))
    measured.push(['border of ' + e.id, ratio(parse(getComputedStyle(e).borderTopColor), ground(e)) / 3]);
const focus = document.activeElement, ring = getComputedStyle(focus);
if (focus != document.body) {
    const visible = ring.outlineStyle == 'none' ? 0 : ratio(parse(ring.outlineColor), ground(focus)) / 3;
    measured.push(['ring around ' + focus.id, visible]);
}
return measured;
