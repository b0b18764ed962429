"""How the page of ``anoean models diff`` looks: on a screen, on a phone, on paper."""

from typing import Final

STYLE: Final = """
:root{--a:#1f5fa8;--b:#c25100;--ink:#1a1a1a;--soft:#5b5b5b;--line:#dcdcdc;--wash:#f6f6f4}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem 1.25rem 3rem;background:#fff;color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:.1rem 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.4rem 0 .8rem;padding-top:.8rem;border-top:2px solid var(--ink)}
h3{font-size:1rem;margin:1.4rem 0 .5rem}
p{margin:.4rem 0}
.over,.sub,.note,figcaption,footer,.where,small{color:var(--soft)}
.over{font-size:.85rem;letter-spacing:.04em}
.lead{font-size:1.25rem;line-height:1.4;max-width:48rem}
.note,figcaption{font-size:.875rem;max-width:48rem}
.a{color:var(--a)}.b{color:var(--b)}
.remarks{list-style:none;margin:0;padding:0}
.remarks li{display:flex;gap:.8rem;align-items:baseline;padding:.45rem 0;border-bottom:1px solid var(--line)}
.tag{flex:0 0 5.2rem;font-size:.8rem;text-align:center;border:1px solid currentColor;border-radius:1rem;
padding:.05rem .3rem;color:var(--soft)}
.better .tag{color:#1d6b2f;font-weight:700}.worse .tag{color:#a31616;font-weight:700}
.open .tag{color:var(--ink);font-weight:700}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}
th,td{text-align:right;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td{width:26%}tbody th{text-align:left;font-weight:400;padding-left:0;min-width:9.5rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:1.5rem 2rem}
figure{margin:0;break-inside:avoid}
figure h3{margin:.2rem 0 .4rem}
figure svg{display:block;width:100%;height:auto}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,32rem),1fr));gap:1rem}
article{border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;break-inside:avoid}
.where{display:flex;justify-content:space-between;gap:1rem;font-size:.8rem;margin:0 0 .5rem;overflow-wrap:anywhere;font-family:ui-monospace,Menlo,Consolas,monospace}
.flow{display:flex;flex-wrap:wrap;gap:.35rem 1.2rem;margin:0 0 .8rem;padding:.5rem .7rem;background:var(--wash);
border-radius:.35rem}
.flow dt{font-size:.72rem;color:var(--soft)}
.flow dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.opinions{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr));gap:.8rem 1.4rem}
.opinion{min-width:0}
.says{margin:0 0 .25rem;color:var(--ink)}
.opinion.a .says b{color:var(--a)}.opinion.b .says b{color:var(--b)}
.gauge{position:relative;height:.6rem;background:#ececec;border-radius:.3rem}
.gauge i{display:block;height:100%;border-radius:.3rem;background:var(--c)}
.gauge::after{content:"";position:absolute;left:50%;top:-.2rem;bottom:-.2rem;width:2px;background:var(--ink)}
.opinion.a{--c:var(--a)}.opinion.b{--c:var(--b)}
.score{font-size:.85rem;margin:.3rem 0 .5rem;color:var(--ink);font-variant-numeric:tabular-nums}
.bars{list-style:none;margin:0;padding:0;font-size:.78rem;color:var(--ink)}
.bars li{display:grid;grid-template-columns:1fr auto;gap:0 .5rem;margin:.45rem 0;line-height:1.35}
.bars b,.bars small{overflow-wrap:anywhere;min-width:0}.bars small{grid-column:1/-1;font-size:.75rem}
.bars .by{font-variant-numeric:tabular-nums}
.bars i{grid-column:1/-1;height:.28rem;border-radius:.14rem;background:var(--c);opacity:.75}
footer{margin-top:2.5rem;padding-top:.8rem;border-top:1px solid var(--line);font-size:.85rem}
@media(max-width:34rem){body{padding:1rem .9rem 2rem}h1{font-size:1.45rem}.lead{font-size:1.1rem}
.remarks li{flex-direction:column;gap:.2rem}.tag{flex:none;padding:.05rem .7rem}th,td{padding:.3rem .35rem}}
@media print{html{font-size:11px}body{max-width:none;padding:0}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.plots{grid-template-columns:1fr 1fr}.cards{grid-template-columns:1fr 1fr}h2,h3{break-after:avoid}}
"""
