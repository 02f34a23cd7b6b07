APPS.shop = {
  first: 'items',
  screens: {
    items: () => page('Shop|商店', S.items.map((item, i) => row(item.name, `go:item:${i}`, {
      sub: item.stock ? '' : t('Sold out|已售罄'), sign: item.sign, end: `¥${item.price}${item.liked ? ' ♥' : ''}`,
    })).join(''), {foot: tabs([['Items|商品', 'no:'], [`${t('Cart|购物车')} ${S.cart.length}`, 'go:cart'], ['Orders|订单', 'go:orders']])}),
    item: i => page(S.items[i].name, `<div class="art">${icon(S.items[i].sign)}</div>` + label(`¥${S.items[i].price}`) +
      toggle('Favourite ♥|收藏 ♥', `items.${i}.liked`) +
      (S.items[i].stock ? button('Add to cart|加入购物车', `put:${i}`) : label(t('Sold out|已售罄')))),
    cart: () => page('Cart|购物车', S.cart.map((line, n) => `<div class="row"><span class="text"><b>${esc(line.name)}</b></span>` +
      tap('round', `add:cart.${n}.count:-1`, `${line.name} −`, '−') + `<span class="value">${line.count}</span>` +
      tap('round', `add:cart.${n}.count:1`, `${line.name} +`, '+') + tap('round', `drop:cart.${n}`, `${line.name} ×`, '×') +
      '</div>').join('') + field('Coupon|优惠码', 'coupon') + (S.cart.length ? button('Buy all|全部购买', 'ask:buy') : '')),
    orders: () => page('Orders|订单', S.orders.map((order, n) => row(order.map(line => `${line.name} × ${line.count}`).join(', '),
      `go:order:${n}`)).join('')),
    order: n => page('Order|订单', S.orders[n].map(line => row(line.name, '', {end: `× ${line.count}`})).join('') +
      button('Cancel order|取消订单', `ask:del:orders.${n}`)),
  },
  acts: {
    put: i => {
      const line = S.cart.find(one => one.name === S.items[i].name);
      if (line) line.count += 1; else S.cart.push({name: S.items[i].name, count: 1});
    },
    drop: path => S.cart.splice(Number(path.split('.')[1]), 1),
    buy: () => { S.orders.push(S.cart); S.cart = []; home(); },
  },
};
