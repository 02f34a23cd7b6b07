APPS.map = {
  first: 'map',
  screens: {
    map: () => page('Map|地图', field('Search|搜索', 'ui.query') + S.places
      .map((place, i) => [place, i]).filter(([place]) => place.name.toLowerCase().includes(S.ui.query.toLowerCase()))
      .map(([place, i]) => row(place.name, `go:place:${i}`, {sub: t(place.kind), sign: 'flag', end: `${place.metres} m`})).join(''),
      {foot: tabs([['Saved|已保存', 'go:saved'], ['Options|选项', 'go:options'], ['Route|路线', 'go:route']])}),
    place: i => page(S.places[i].name, APPS.map.drawn(i) + label(`${t(S.places[i].kind)}, ${S.places[i].metres} m`) +
      toggle('Saved|保存', `places.${i}.saved`) + row(t('Directions|路线'), `go:ways:${i}`, {sign: 'arrow'}) +
      row(t('Rate|评分'), `go:rate:${i}`, {end: '★'.repeat(S.places[i].stars)}) + row(t('Set as home|设为家'), `name:home:${i}`) +
      row(t('Set as work|设为公司'), `name:work:${i}`)),
    ways: i => page('Directions|路线', [['walk', 'Walk|步行'], ['bus', 'Bus|公交'], ['car', 'Car|驾车']].map(([way, pair]) =>
      button(pair, `route:${i}:${way}`)).join('')),
    rate: i => page('Rate|评分', [1, 2, 3, 4, 5].map(n => choice('★'.repeat(n), `places.${i}.stars`, n)).join('')),
    saved: () => page('Saved|已保存', S.places.map((place, i) => place.saved ? row(place.name, `go:place:${i}`) : '').join('')),
    options: () => page('Options|选项', toggle('Avoid tolls|避开收费', 'tolls') + toggle('Share my place|共享位置', 'shares') +
      toggle('Night colours|夜间配色', 'night') + row(t('Home|家'), '', {end: esc(S.home ?? '–')}) + row(t('Work|公司'), '', {end: esc(S.work ?? '–')})),
    route: () => page('Route|路线', S.route ? label(`${t({walk: 'Walk|步行', bus: 'Bus|公交', car: 'Car|驾车'}[S.route.by])} → ${S.route.to}`) +
      button('End route|结束导航', 'set:route:null') : label(t('No route|没有路线'))),
  },
  acts: {
    route: (i, by) => { S.route = {to: S.places[i].name, by}; home(); VERBS.go('route'); },
    name: (what, i) => { S[what] = S.places[i].name; },
  },
  drawn: i => `<svg style="display:block;background:var(--line)" width="224" height="70" viewBox="0 0 224 70">
    <path d="M0 ${20 + i * 3}H224M${40 + i * 12} 0V70M0 60L224 ${8 + i * 4}" stroke="var(--surface)" stroke-width="7"/>
    <circle cx="${40 + i * 12}" cy="${20 + i * 3}" r="7" fill="var(--accent)"/></svg>`,
};
