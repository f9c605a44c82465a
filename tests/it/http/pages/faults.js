// What must not be on a page, and what a screen reader misses.
const faults = [...document.querySelectorAll('script, style, [style], iframe, object')].map(e => e.outerHTML);
for (const e of document.querySelectorAll('*'))
    for (const a of e.attributes)
        if (a.name.startsWith('on') || /^\s*javascript:/i.test(a.value)) faults.push(e.outerHTML);
for (const e of document.querySelectorAll('input:not([type=hidden]):not([hidden])'))
    if (!e.labels.length || !e.autocomplete) faults.push('unlabelled: ' + e.outerHTML);
if (document.documentElement.lang != 'en') faults.push('lang');
if (!/^.+ · Bulla$/.test(document.title)) faults.push('title: ' + document.title);
if (document.querySelectorAll('h1').length != 1) faults.push('h1');
if (getComputedStyle(document.querySelector('.card')).borderRadius == '0px') faults.push('no style sheet');
if (!document.querySelector('.brand img').naturalWidth) faults.push('no picture');
return faults;
