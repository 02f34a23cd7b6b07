APPS.form = {
  first: 'form',
  screens: {
    form: () => page('Registration|报名表', field('Name|姓名', 'name') + field('Phone|电话', 'phone') + field('Address|地址', 'address') +
      row(t('City|城市'), 'go:city', {end: esc(S.city ?? '–')}) + row(t('Meal|餐食'), 'go:meal', {end: esc(S.meal ?? '–')}) +
      stepper('Guests|人数', 'guests') + tick('Newsletter|订阅通讯', 'newsletter') + tick('Needs parking|需要停车位', 'parking') +
      field('Remark|备注', 'remark') + tick('I agree|我同意条款', 'agreed') + button('Submit|提交', 'submit') + button('Clear all|清空', 'ask:empty'),
      {foot: tabs([['Form|表格', 'no:'], [`${t('Sent|已提交')} ${S.sent.length}`, 'go:sent']])}),
    city: () => page('City|城市', S.cities.map(city => choice(city, 'city', city)).join('')),
    meal: () => page('Meal|餐食', S.meals.map(meal => choice(meal, 'meal', meal)).join('')),
    sent: () => page('Sent|已提交', S.sent.map((form, n) => row(form.name, `go:one:${n}`)).join('')),
    one: n => page(S.sent[n].name, label(S.sent[n].phone) + button('Withdraw|撤回', `ask:del:sent.${n}`)),
  },
  acts: {
    submit: () => {
      if (!S.name || !S.agreed) return;
      const {cities, meals, sent, ui, ...form} = S;
      S.sent.push(JSON.parse(JSON.stringify(form)));
      APPS.form.acts.empty();
    },
    empty: () => Object.assign(S, {name: '', phone: '', address: '', city: null, meal: null, guests: 1, newsletter: false,
      parking: false, remark: '', agreed: false}),
  },
};
