"""The shop's product service without Bandstand: Django, REST framework, and the usual packages where asked for.

The models, their migrations, the filters and the demonstration's catalogue are those of the shop, which need no
Bandstand; ``shop/product-service`` is on the path. With ``BENCH_PACKAGES`` in the environment it has the packages that
a service usually takes for what Bandstand does.
"""
