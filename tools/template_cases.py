# SPDX-License-Identifier: Apache-2.0
"""Small templates for make_template_goldens.py: one feature of the language each. Integers beyond 64 bits are left out: ours are errors by design."""

V = {
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " Hi "}, {"role": "assistant", "content": None}],
    "s": "Hello World", "u": "Grüße, Ωμέγας ß ﬁ İ 你好 🙂", "n": 7, "f": 2.5, "t": True, "z": None,
    "d": {"b": 1, "a": "x", "C": [1, 2], "items": "shadow", "é": {"k": 1.0}}, "l": [3, 1, 2], "e": [], "words": ["b", "A", "c", "a", "B"],
    "people": [{"n": "Bob", "a": 3, "g": "x"}, {"n": "al", "a": 1, "g": "Y"}, {"n": "Cy", "a": 2, "g": "X"}, {"n": "bo"}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}, {"v": 5, "c": []}],
    "nested": {"a": [1, {"b": [True, None, 1.5, "q\"'\\\n\t\u0001é"]}], "e": [], "o": {}},
}

EXPRESSIONS = r"""
1|2.0|1e16|1e15|123456789012345680.0|1e-5|0.0001|-0.0|1.5e300*1e10|1_000|0x1f|0b101|0o17|.5|1.|1_0.5|1e5|1E-3|00|007|9223372036854775807
'a' 'b'|"x\ny"|'\x41\u00e9\U0001F642'|'\q\101'|'\é'|'it\'s'|true|True|none|None|false|[1, 'a', none, true, 1.0]|(1,)|(1, 2)|()|{}|{'a': 1, 'b': [1]}
{1: 2, 'x': (1, 2), none: true}|[]|[[], {}, ()]|["it's", 'say "x"', 'both \' "']|['\x00\x7f\u200b\u00a0é🙂\\']|[1,]|{'a': 1,}|{[1]: 2}
1 + 2|1 - 5|2 * 3|7 / 2|6 / 2|7 // 2|-7 // 2|7 // -2|-7 % 3|7 % -3|-7.5 // 2|-7.5 % 2|7.5 % -2|2 ** 10|2 ** -1|2 ** 0.5|2 ** 3 ** 2|-2 ** 2|1 / 0|1 // 0|1 % 0|1.0 / 0
0 ** 0|0 ** -1|10 ** 18|2 ** 62|-9223372036854775807 - 1|3 * 0.1|0.1 + 0.2|1e308 * 10|true + true|true * 3|-true|+true|+'a'|-none
'a' + 'b'|'a' + 1|1 + 'a'|'ab' * 3|3 * 'ab'|'ab' * -1|[1] * 2|2 * (1, 2)|[1] + [2]|[1] + (2,)|(1,) + (2,)|'a' * 1.5|none + 1|{} + {}
'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] ~ missing|1 ~ 2 + 3|1 + 2 ~ 3
1 == 1.0|1 == true|'a' == 'a'|[1, 2] == [1, 2]|[1] == (1,)|{'a': 1, 'b': 2} == {'b': 2, 'a': 1}|none == false|missing == missing2|missing == none|1 != 2|'1' == 1
1 < 2|1 < 2 < 3|1 < 3 < 2|1 < 'a'|'a' < 'b'|'B' < 'a'|[1, 2] < [1, 3]|[1] < [1, 0]|(1, 'a') < (1, 'b')|none < 1|missing < 1|true < 2|1.5 >= 1|{} < {}
1 in [1, 2]|'a' in 'cat'|'' in ''|1 in 'a'|'a' in {'a': 1}|1 not in [1]|1 in missing|1 in none|[1] in [[1]]|[1] in {}|'x' in ('x',)|1 in range(3)|5 in range(0, 10, 2)|1.0 in [1]
1 and 0|0 or 'x'|'' or none|not 1|not missing|1 and missing|not not 'a'|1 if 0 else 2|1 if 1|1 if 0|(1 if 0) is defined|'a' if missing else 'b'|1 if 0 else 2 if 0 else 3
missing|missing.x|missing['x']|missing + 1|missing is defined|missing is undefined|missing ~ 'x'|missing()|missing[0:1]|[missing]|missing|length|-missing|d.nope|d.nope.x|d.nope is defined
s.nope|s.nope.x|n.nope|z.nope|l.nope|z.x.y|l[10]|l[10] is defined|l[-1]|l[-4]|l['0']|l.0|l.5|s[0]|s[-1]|s[99]|s[0:5]|s[::-1]|s[::2]|s[5:2]|s[-3:]|s[:-3]|s[1:99]|s[::0]|s['a':]
u[0]|u[2]|u[::-1]|u[3:8]|u|length|u[-1]|l[1:]|l[::-1]|l[-2:]|l[:0]|(1, 2, 3)[1:]|d[0:1]|n[0]|n[0] is defined|l[none:none]|l[missing:]|l[1.0]|l[1.0] is defined|l[true]
d.b|d['b']|d.items|d['items']|d.items()|d.keys()|d.values()|d.keys()|list|d|list|d.get('b')|d.get('q')|d.get('q', 5)|d.get('b', 5)|d.get()|d.copy()|d['é'].k|d.é.k|d[l]|d[l] is defined|d.C[1]
d.items() is iterable|d.items()[0]|d.items()|length|d.items()|first|d.get|d.append|l.append(1)|l.append is defined|l.pop()|d.pop('b')|d.update({})|d.setdefault('a', 1)|l.sort()|l.insert(0, 1)
l.index(1)|l.index(9)|l.count(1)|l.copy()|(1, 2, 1).count(1)|d.__class__|d.__class__ is defined|s.__class__.__mro__|l._x|d['__class__']|''.join.__self__|{'__class__': 1}.__class__|{'_p': 1}._p
'%s' % 1|'%s %s' % (1, 'a')|'%d' % 3.7|'%05d' % 42|'%-5d|' % 42|'%+d' % 3|'%x %X %o' % (255, 255, 8)|'%#x' % 255|'%.2f' % 3.14159|'%e' % 12345.678|'%g' % 0.0001|'%g' % 1e10|'%%' % ()|'%s' % [1]
'%s' % missing|'%s' % none|'%r' % 'a'|'%c' % 'x'|'%c' % 65|'%(a)s' % {'a': 1}|'%s' % (1, 2)|'%s %s' % 1|'%q' % 1|'%d' % 'a'|'%5.1f|%-8s|%8s' % (2.25, 'ab', 'cd')|'a' % 1|'a' % {}|'%*d' % (5, 1)|'%.3d' % 5
'{}'.format(1)|'{} {}'.format(1, 'a')|'{0} {1} {0}'.format('a', 'b')|'{a}'.format(a=1)|'{0[x]} {0.y}'.format({'x': 1, 'y': 2})|'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c')|'{:05d}'.format(42)
'{:.2f}'.format(3.14159)|'{:,}'.format(1234567)|'{:,.2f}'.format(1234567.891)|'{:x} {:#x} {:b}'.format(255, 255, 5)|'{:e}'.format(1.5)|'{!r}'.format('a')|'{{}}'.format()|'{'.format()|'{}'.format()
'{:>{w}}'.format('a', w=4)|'{:*^9}'.format('mid')|'{:%}'.format(0.25)|'{:+}'.format(3)|'{:d}'.format('a')|'{0} {}'.format(1)|'{a.b}'.format(a={'b': 2})|'{:s}'.format(1)|'{}'.format(none)|'{:5}'.format(true)
s.upper()|s.lower()|u.upper()|u.lower()|u.title()|u.capitalize()|u.swapcase()|u.casefold()|'ΑΣ ΑΣΑ Σ'.lower()|"they're bill's".title()|s.startswith('He')|s.startswith(('x', 'H'))|s.startswith('W', 6)
s.endswith('ld')|s.endswith('lo', 0, 5)|'  a '.strip()|'xxaxx'.strip('x')|'  a '.lstrip()|'  a '.rstrip()|'abcxyz'.strip('zyxa')|'\u00a0 a\u3000'.strip()|'a'.strip(1)|'éaé'.strip('é')
'a,b,,c'.split(',')|' a  b '.split()|'a,b,c'.split(',', 1)|'a b c'.split(none, 1)|'abc'.split('')|'a,b,c'.rsplit(',', 1)|' a b  c '.rsplit(none, 1)|''.split()|''.split(',')|'a b'.split(maxsplit=0)|'aXXbXXc'.split('XX')
'a\nb\r\nc\u2028d\n'.splitlines()|'a\nb\n'.splitlines(true)|'a-b-c'.partition('-')|'a-b-c'.rpartition('-')|'abc'.partition('x')|s.replace('o', '0')|s.replace('o', '0', 1)|'ab'.replace('', '-')|'aaa'.replace('aa', 'b')
s.find('o')|s.find('zz')|s.rfind('o')|s.index('W')|s.index('zz')|s.count('o')|s.count('')|u.find('你')|s.find('o', 5)|s.find('o', -4)|', '.join(['a', 'b'])|', '.join([1])|''.join('abc')|'-'.join({'a': 1, 'b': 2})
'123'.isdigit()|'12a'.isdigit()|''.isdigit()|'²'.isdigit()|'²'.isdecimal()|'½'.isnumeric()|'abc'.isalpha()|'é你'.isalpha()|'a1'.isalnum()|' \t'.isspace()|'Ab'.isupper()|'AB1'.isupper()|'ab'.islower()|'Ab Cd'.istitle()
'abc'.removeprefix('a')|'abc'.removesuffix('c')|'abc'.removeprefix('x')|'a'.center(5)|'ab'.center(5)|'a'.center(4, '*')|'a'.ljust(3, '.')|'a'.rjust(3, '.')|'-5'.zfill(4)|'a\tb'.expandtabs(4)|'a'.isidentifier()|'abc'.isascii()
s.encode|s.upper(1)|s.replace('a')|s.nope()|(5).bit_length()|(2.0).is_integer()|n.real|1.real|'a'.isprintable()|'{a}'.format_map({'a': 3})
range(3)|range(1, 4)|range(0, 10, 3)|range(3)|list|range(5, 0, -2)|list|range(0)|list|range(1.5)|range()|range(1, 2, 0)|range(100001)|range(100000)|length|range(10)[2:5]|range(10)[::3]|range(3)[5] is defined|range(5)[-1]|range(3) == range(0, 3)
dict(a=1)|dict({'a': 1}, b=2)|dict([('a', 1), ['b', 2]])|dict([1])|dict(1)|dict()|namespace(a=1)|namespace(a=1).a|namespace({'a': 1}).a|namespace(_a=1)|namespace().x is defined|namespace(a=namespace(b=2)).a.b
joiner(', ')() ~ 'x'|cycler(1, 2).current|cycler()|dict is callable|range is callable|raise_exception('boom')|raise_exception()|raise_exception(1)|strftime_now('%Y-%m-%d %H:%M:%S')|strftime_now('%d %b %Y')|strftime_now('%j %A %B %y %p %I %%')|strftime_now('')|strftime_now(1)
"""

FILTERS = r"""
s|upper|s|lower|u|upper|u|lower|u|title|u|capitalize|"foo-bar (baz) [q] {w} <e> o'neil"|title|'ÉCOLE ßx'|title|s|length|l|count|d|length|n|length|z|length|range(3)|length|1.5|string|none|string|missing|string|[1]|string
'  a '|trim|'xax'|trim('x')|5|trim|s|replace('o', '0')|s|replace('o', '0', 1)|5|replace(5, 6)|s|replace('o')|l|join|l|join(', ')|people|join(',', attribute='n')|'abc'|join('-')|missing|join|n|join|[none, true, 1.0]|join(' ')|l|join(1)
l|first|l|last|e|first|e|last|e|first is defined|'abc'|first|'abc'|last|d|first|d|last|range(3)|last|missing|first|n|first|missing|default('x')|missing|d('x')|''|default('x')|''|default('x', true)|z|default('x')|z|default('x', boolean=true)|missing|default|missing.x|default('y')
'42'|int|' 42 '|int|'4_2'|int|'42.9'|int|'abc'|int|'abc'|int(5)|'0x1f'|int(base=16)|'ff'|int(0, 16)|'0b11'|int(0, 0)|'010'|int|'010'|int(7, 0)|42.9|int|-42.9|int|none|int|none|int(default=3)|[]|int|true|int|missing|int|'1e3'|int|'inf'|int|'nan'|int(1)|'９'|int
'3.5'|float|' 1e3 '|float|'abc'|float|'abc'|float(1.5)|3|float|none|float|missing|float|'inf'|float|'-nan'|float|'1_0.5'|float|'0x10'|float|true|float|-5|abs|-2.5|abs|'a'|abs|none|abs
2.5|round|3.5|round|-2.5|round|2.567|round(2)|2.675|round(2)|42|round|42|round(1)|1234|round(-2)|1250|round(-2)|1350|round(-2)|1234.5|round(-2)|2.4|round(method='ceil')|2.6|round(method='floor')|2.123|round(2, 'ceil')|7|round(0, 'ceil')|2.5|round(method='x')|'a'|round|2.5|round(none)|true|round
people|selectattr('a')|map(attribute='n')|list|people|selectattr('a', 'gt', 1)|map(attribute='n')|list|people|rejectattr('a')|list|people|rejectattr('a', 'defined')|list|messages|selectattr('role', 'equalto', 'user')|list|messages|selectattr('content', 'none')|list|length
messages|selectattr('role', 'in', ['user', 'system'])|map(attribute='role')|join('+')|l|select('odd')|list|l|reject('odd')|list|[0, 1, '', 'a', none]|select|list|[0, 1, '']|reject|list|l|select('divisibleby', 3)|list|l|select('nope')|list|l|select('gt', 1)|sum|messages|selectattr|list
words|map('upper')|list|l|map('string')|join|people|map(attribute='a')|list|people|map(attribute='a', default=0)|list|people|map(attribute='q', default='-')|join|words|map('replace', 'a', 'z')|list|l|map|list|l|map('nope')|list|l|map(attribute='x', foo=1)|list|missing|map('upper')|list|n|map('upper')|list
[[1, 2], [3]]|map('first')|list|[[1, 2], [3]]|map(attribute=0)|list|[{'a': {'b': [5]}}]|map(attribute='a.b.0')|list|words|sort|words|sort(case_sensitive=true)|words|sort(reverse=true)|l|sort|[1, 'a']|sort|people|sort(attribute='n')|map(attribute='n')|list|people|sort(attribute='a')|map(attribute='n')|list
people[:3]|sort(attribute='a')|map(attribute='n')|list|people[:3]|sort(attribute='g,a')|map(attribute='n')|list|people[:3]|sort(true, false, 'a')|map(attribute='n')|list|d|sort|'hello'|sort|[[2, 1], [1, 2]]|sort|[true, 0, 2]|sort|[none, 1]|sort|missing|sort|n|sort
words|unique|list|words|unique(true)|list|[1, 1.0, true, '1']|unique|list|people|unique(attribute='g')|map(attribute='n')|list|[[1], [1]]|unique|list|l|reverse|list|'abc'|reverse|u|reverse|d|reverse|list|range(3)|reverse|list|n|reverse|missing|reverse|list|l|map('string')|reverse
d|items|list|missing|items|list|l|items|list|d|items|length|{'b': 2, 'A': 1, 'c': 0}|dictsort|{'b': 2, 'A': 1}|dictsort(true)|{'b': 2, 'A': 1, 'c': 0}|dictsort(by='value')|{'b': 2, 'A': 1}|dictsort(false, 'key', true)|{'a': 1}|dictsort(by='x')|l|dictsort|{1: 2, 'a': 3}|dictsort|missing|dictsort
nested|tojson|nested|tojson(indent=2)|nested|tojson(indent=0)|nested|tojson(indent='--')|nested|tojson(indent=true)|nested|tojson(ensure_ascii=true)|u|tojson|u|tojson(true)|d|tojson(sort_keys=true)|d|tojson(separators=(',', ':'))|d|tojson(indent=4, separators=(',', ' = '))|[]|tojson(indent=2)|{}|tojson(indent=2)
'<a href="x">&\'</a>'|tojson|1.0|tojson|1e16|tojson|1e400|tojson|true|tojson|none|tojson|missing|tojson|(1, 2)|tojson|{1: 2, 1.5: 3, true: 4, none: 5}|tojson|{(1, 2): 3}|tojson|range(3)|tojson|d.items()|tojson|dict|tojson|'\x7f\x1f\b\f\u2028'|tojson|[missing]|tojson|l|tojson(4)|{'b': 1, 2: 3}|tojson(sort_keys=true)|l|tojson(foo=1)
'<b>'|safe|'<b>'|e|'<b>\'"&'|escape|'<b>'|safe|e|('<b>'|safe) + '<i>'|'<i>' + ('<b>'|safe)|('<b>'|safe) ~ '<i>'|['<b>'|safe]|'<b>'|e|e|'<b>'|e|forceescape|5|e|('<b>'|safe)|upper|('%s'|safe) % '<'|('<b>'|safe) is escaped|('a'|safe) * 2|('{}'|safe).upper()
'a\nb\n\nc'|indent|'a\nb'|indent(2)|'a\nb'|indent(2, true)|'a\n\nb'|indent(2, blank=true)|'a\nb'|indent('> ')|''|indent|'a\n'|indent|n|indent|'a\nb'|indent(width=1, first=true)|missing|indent|l|min|l|max|words|min|words|max|words|min(case_sensitive=true)|e|min|e|min is defined|people[:3]|max(attribute='a')|[1, 'a']|max|[1, 2.5]|max|'hello'|max
l|sum|[1.5, 2]|sum|e|sum|people[:3]|sum(attribute='a')|l|sum(start=10)|['a']|sum|[[1], [2]]|sum(start=[])|n|sum|missing|sum|l|batch(2)|list|l|batch(2, 'x')|list|e|batch(2)|list|range(7)|batch(3, 0)|list|range(7)|slice(3)|list|range(7)|slice(3, 'x')|list|range(2)|slice(4)|list|l|slice(0)|list
people[:3]|groupby('g')|people|groupby('g', default='none')|list|length|people[:3]|groupby('g', case_sensitive=true)|map('first')|list|people[:3]|groupby('a')|map(attribute='grouper')|list|people[:3]|groupby('g')|map(attribute='list')|map('length')|list|people|groupby('a')
'The quick brown fox jumps'|wordwrap(10)|'a-very-long-hyphenated-word and-more'|wordwrap(12)|'abcdefghijklmno'|wordwrap(5)|'abcdefghijklmno pq'|wordwrap(5, false)|'a b\nc d e f g'|wordwrap(3)|'a b c d'|wordwrap(3, wrapstring='|')|'  lead and  trail  '|wordwrap(8)|''|wordwrap
'hello world foo'|truncate(9)|'hello world foo'|truncate(9, true)|'hello'|truncate(5)|'hello world'|truncate(5, false, '~', 0)|'hello world'|truncate(2)|'a'|center(5)|'a b  c_d'|wordcount|'a b/é?&='|urlencode|{'a b': 'c&', 'd': 1}|urlencode|1000|filesizeformat|1500000|filesizeformat|1500000|filesizeformat(true)|1|filesizeformat|12|filesizeformat
'%s-%d'|format('a', 3)|'%(x)s'|format(x=1)|d|attr('b')|d|attr('get') is callable|s|attr('nope') is defined|s|attr('upper')()|'abc'|list|d|list|missing|list|n|list|s|nope|s|upper|lower|-3|abs|-(3)|string|1 + '2'|int|'a' in ['A']|map('lower')|list|s|upper ~ 'x'|s|length + 1
"""

TESTS = r"""
n is defined|missing is defined|missing is not defined|z is none|n is not none|s is string|n is string|d is mapping|l is mapping|l is iterable|n is iterable|s is iterable|d is iterable|missing is iterable|l is sequence|d is sequence|s is sequence|n is sequence|range(2) is sequence|l|map('upper') is sequence
n is number|f is number|t is number|s is number|n is integer|t is integer|f is integer|f is float|n is float|t is boolean|n is boolean|t is true|n is true|t is false|false is false|0 is false|s is callable|dict is callable|missing is callable|3 is odd|4 is odd|4 is even|3 is even|'a' is odd|2.0 is even|6 is divisibleby 3|6 is divisibleby(4)|6 is divisibleby 0
1 is eq 1|1 is equalto(2)|1 is == 1|1 is ne 2|2 is gt 1|2 is greaterthan 1|1 is lt 2|1 is le 1|2 is ge 3|1 is in [1]|'a' is in 'abc'|1 is not in [1]|'abc' is lower|'Abc' is lower|'ABC' is upper|5 is upper|none is sameas none|1 is sameas 1|t is sameas true|1 is sameas true|'upper' is filter|'nope' is filter|'odd' is test|'x' is escaped
missing is nope|n is defined and s is string|n is defined or missing is defined|not n is defined|n is string or n is number|(n is defined) == true|1 if n is defined else 2|n is divisibleby 7 and true|'a' is eq 'a' if true else 'b'|n is defined is defined|s is string|upper|[n is odd, n is even]
"""

STATEMENTS = [
    "{% if n %}a{% endif %}", "{% if missing %}a{% elif n == 7 %}b{% else %}c{% endif %}", "{% if not n %}a{% else %}b{% endif %}",
    "{% if 0 %}a{% elif 0 %}b{% elif 1 %}c{% elif 1 %}d{% endif %}", "{% if e %}x{% endif %}|", "{% if (n > 5) and s %}y{% endif %}", "{% if n = 5 %}{% endif %}",
    "{% if 1, 2 %}t{% endif %}", "{% for x in l %}{{ x }},{% endfor %}", "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }};{% endfor %}",
    "{% for x in l %}[{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}]{% endfor %}", "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in e %}x{% else %}none{% endfor %}", "{% for x in l %}x{% else %}none{% endfor %}", "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}/{{ loop.length }} {% endfor %}",
    "{% for x in l if x > 5 %}x{% else %}no{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}", "{% for a, b in ['xy'] %}{{ b }}{{ a }}{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in l %}{% endfor %}", "{% for x in n %}{% endfor %}", "{% for x in missing %}x{% else %}e{% endfor %}", "{% for x in z %}{% endfor %}", "{% for x in 'aé🙂' %}{{ x }}.{% endfor %}", "{% for x in range(3) %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in [1] %}{% continue %}{% else %}E{% endfor %}", "{% for x in [1] %}{% break %}{% else %}E{% endfor %}",
    "{% break %}", "{% if 1 %}{% continue %}{% endif %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% for x in l %}{% for y in e %}{% else %}{% break %}{% endfor %}{{ x }}{% endfor %}|", "{% for x in l %}{% set a %}{% break %}{% endset %}{% endfor %}|",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}", "{% for x in l %}{{ loop.cycle() }}{% endfor %}", "{{ loop }}", "{% for x in l %}{{ loop }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{% for x in l %}{% set outer = loop %}{% for y in [1, 2] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}", "{% for x in l %}{{ loop.nope }}{% endfor %}|", "{% for x in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for i in tree recursive %}{{ i.v }}({{ loop.depth }}){% if i.c %}[{{ loop(i.c) }}]{% endif %}{% endfor %}", "{% for i in tree recursive %}{{ loop.index }}/{{ loop.length }}{{ loop(i.c) }}{% else %}-{% endfor %}", "{% for i in tree if i.v != 3 recursive %}{{ i.v }}{{ loop(i.c) }}{% endfor %}", "{% for x in l %}{{ loop(l) }}{% endfor %}",
    "{% for x in l %}{% set loop = 1 %}{% endfor %}", "{% for loop in l %}{% endfor %}", "{% set loop = 5 %}{{ loop }}", "{% for x in l|map('string') %}{{ x }}{{ loop.length }}{{ loop.last }} {% endfor %}", "{% for x in people|groupby('g', default='q') %}{{ x.grouper }}:{{ x.list|length }};{% endfor %}", "{% for g, items in people[:3]|groupby('g') %}{{ g }}={{ items|length }} {% endfor %}",
    "{% set x = 1 %}{{ x }}", "{% set x, y = 1, 2 %}{{ x }}{{ y }}", "{% set x, y = y, 1 %}{{ x }}{{ y }}", "{% set (x, y) = [1, 2] %}{{ x }}{{ y }}", "{% set x = 1, 2 %}{{ x }}", "{% set x %}a{{ n }}b{% endset %}{{ x }}", "{% set x | upper %}a{{ s }}b{% endset %}{{ x }}", "{% set x | replace('a', 'z') | upper %}abc{% endset %}{{ x }}",
    "{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set x = 1 %}{% if n %}{% set x = 2 %}{% endif %}{{ x }}", "{% if n %}{% set q = 2 %}{% endif %}{{ q }}", "{% if not n %}{% set q = 2 %}{% endif %}{{ q }}|", "{% if not n %}{% set s = 2 %}{% endif %}{{ s }}|", "{{ s }}{% set s = 1 %}{{ s }}", "{% for x in l %}{% set y = x %}{% endfor %}{{ y }}|",
    "{% for x in l %}{{ y }}{% set y = x %}{{ y }}{% endfor %}", "{% set y = 9 %}{% for x in l %}{{ y }}{% set y = x %}{{ y }} {% endfor %}{{ y }}", "{% for x in l %}{% if x == 1 %}{% set y = x %}{% endif %}{{ y }}|{% endfor %}", "{% set x = 0 %}{% for a in l %}{% for b in l %}{% set x = x + b %}{% endfor %}{{ x }} {% endfor %}", "{% for q in l %}{{ s }}{% endfor %}{% set s = 1 %}|",
    "{% for x in l %}{% endfor %}{{ x }}|", "{% set x = 5 %}{% for x in l %}{{ x }}{% endfor %}{{ x }}", "{% macro m() %}{{ s }}{% endmacro %}{{ m() }}{% set s = 1 %}{{ m() }}", "{% set s = 1 %}{% macro m() %}{{ s }}{% endmacro %}{{ m() }}{% set s = 2 %}{{ m() }}", "{% macro m() %}{% set s = 5 %}{{ s }}{% endmacro %}{{ m() }}{{ s }}",
    "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}", "{% set d.x = 1 %}", "{% set missing.x = 1 %}", "{% set ns = namespace(a=1) %}{{ ns }}{{ ns.b }}|{{ ns['a'] }}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
    "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}", "{% macro m(ns) %}{% set ns.x = 2 %}{% endmacro %}{% set ns = namespace(x=1) %}{{ m(ns) }}{{ ns.x }}", "{% set 1 = 2 %}", "{% set x.y.z = 2 %}", "{% set x[0] = 2 %}", "{% set true = 2 %}", "{% set x = %}", "{% set x 1 %}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(b=1, a=0) }}{{ m() }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "{% macro m() %}x{% endmacro %}{{ m(1) }}", "{% macro m(a) %}x{% endmacro %}{{ m(b=1) }}", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}", "{% macro m() %}{{ varargs|length }}{% endmacro %}{{ m(1, 2) }}{{ m(x=1) }}", "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{% endcall %}", "{% macro m() %}{% if caller %}{{ caller() }}{% else %}no{% endif %}{% endmacro %}{{ m() }}{% call m() %}yes{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% call n %}{% endcall %}", "{% call missing() %}{% endcall %}", "{% macro m(x) %}{{ x }}{% if x > 0 %}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "{{ m(1) }}{% macro m(x) %}{{ x }}{% endmacro %}", "{% macro m() %}  a {% endmacro %}[{{ m() | trim }}]", "{% macro m(a, b) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}",
    "{% macro outer() %}{% macro inner() %}i{{ s }}{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}", "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m(messages) %}{% for x in messages %}{{ x }}{% endfor %}{% endmacro %}{{ m([1, 2]) }}{{ messages|length }}", "{% macro m(x) %}{{ loop.index }}{% endmacro %}{% for i in l %}{{ m(i) }}{% endfor %}|", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m(caller) %}{{ caller }}{% endmacro %}{{ m(1) }}", "{% macro m(kwargs) %}{{ kwargs }}{% endmacro %}{{ m(1) }}", "{{ range(*[1, 4])|list }}{{ dict(**{'a': 1}) }}", "{{ dict(a=1, **{'a': 2}) }}", "{{ dict(a=1, a=2) }}", "{{ range(*l, 5) }}", "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1], **{'b': 2}) }}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% set x = 1 %}{% endfilter %}{{ x }}|", "{% filter nope %}{% endfilter %}", "{% filter indent(2) %}a\nb{% endfilter %}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}|", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}|", "{% with a = 1, b = a %}{{ b }}{% endwith %}|", "{% print 1, 'a' %}", "{% raw %}{{ x }}{% endraw %}", "a {%- raw -%} {{ x }} {%- endraw -%} b", "{% raw %}\nx\n{% endraw %}\ny", "{% raw %}x", "{# comment #}a{#- c -#} b", "a\n{# c #}\nb", "a {#- c #} b", "{# {{ x }} {% if %} #}z", "{# unclosed",
    "{% generation %}a{% set q = 1 %}{{ s }}{% endgeneration %}{{ q }}|", "{% for m in messages %}{%- generation -%} {{ m.role }} {%- endgeneration -%}{% endfor %}", "a\n  {% if n %}\n  b\n  {% endif %}\nc\n", "a\n  {%- if n -%}\n  b\n  {%- endif -%}\nc\n", "a {% if n %} b {% endif %} c", "a\n  {%+ if n %}\nb{% endif +%}\nc", "  {{ n }}  \n", "  {{- n -}}  \nx", "{% if n %}\n\nx{% endif %}\n\n", "\n\n{% if n %}x{% endif %}\n", "  {% if n %}x{% endif %}", "x  {% if n %}x{% endif %}", "\t{# c #}  \nx", "a\r\nb\rc\n{% if 1 %}\r\nd{% endif %}\r\n", "a\n", "a\n\n", "\n", "", "{{ '\r\n' }}|", "{{ 'a\nb' }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ {'a': {}}}}", "{{ '}}' }}{{ '%}' }}", "{% if '%}' %}x{% endif %}",
    "{{ }}", "{{ 1 2 }}", "{{ (1 }}", "{{ 1) }}", "{{ [1 }}", "{{ 'a }}", "{{ a. }}", "{{ a.1.b }}", "{{ a b }}", "{{ 1 + }}", "{{ ! }}", "{{ a; b }}", "{{ a = 1 }}", "{{ x", "{% if %}{% endif %}", "{% endif %}", "{% if 1 %}", "{% for %}{% endfor %}", "{% for x y %}{% endfor %}", "{% foo %}", "{% if 1 %}{% endfor %}", "{% else %}", "{% %}", "{{ l|map('upper' }}", "{{ s| }}", "{{ s|1 }}", "{{ n is }}", "{{ f(x=1, 2) }}", "{{ $ }}", "{{ 1é }}", "{{ é }}", "{{ ²x }}", "}} %} #}", "{ { x } }", "{{ '\\N{BULLET}x' }}"[:3] + "1 }}", "{{ '\\x4' }}",
    "{% if x is nope %}{% endif %}", "{% if false %}{{ s|nope }}{% endif %}ok", "{{ s|nope if false else 'ok' }}", "{% if true %}{{ s|nope }}{% endif %}", "{% if true %}{% for x in l %}{{ s|nope }}{% endfor %}{% endif %}", "{% if false %}{% for x in l|nope %}{% endfor %}{% endif %}ok", "{{ messages[0]['role'] }}{{ messages[-1].content }}{{ messages[1].content.strip() }}", "{{ messages[0].role.upper()[0] }}", "{{ messages[1:]|length }}", "{{ messages[2].content is none }}", "{{ messages[2].content.strip() }}", "{{ messages[9].content }}", "{{ messages[0].nope is defined }}{{ messages[0].tool_calls }}|",
    "{%- for message in messages -%}\n    {{- '<|' + message['role'] + '|>\\n' }}\n    {%- if message.content is string %}\n        {{- message.content }}\n    {%- else %}\n        {{- 'none' }}\n    {%- endif %}\n{%- endfor %}", "{% set ns = namespace(i=0) %}{% for m in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{{ index }}{{ m.role }}{% endfor %}", "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{% for m in loop_messages %}{{ m.role }}{% endfor %}", "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{% endfor %}",
    "{% set x = messages|map(attribute='role')|list %}{{ x }}{{ 'user' in x }}", "{{ [1, 2, 3][::-1][0] }}{{ (l + [4])[-1] }}", "{{ 'a' if n == 7 and s else 'b' }}", "{{ (n|string + 'x') * 2 }}", "{{ d.C|join('-') ~ d.b }}", "{{ not n is defined }}{{ n is not defined }}", "{{ -n|abs }}{{ (-n)|abs }}", "{{ 5 - 3 - 1 }}{{ 2 * 3 % 4 }}{{ 1 + 2 * 3 ** 2 }}", "{{ l is iterable and l is not string and l is not mapping }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}", "{% set j = joiner() %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "{{ n.__add__ }}|", "{% set it = l|map('string') %}{{ it|list }}{{ it|list }}", "{% set it = l|select('odd') %}{% if it %}T{% endif %}{{ it|length }}", "{{ (l|map('string'))[0] }}|", "{{ d.items()|list }}{{ d|dictsort|length }}", "{% for k, v in d|items %}{{ loop.index }}{{ k }}{% endfor %}", "{% for x in d.values() %}{{ x }}{% endfor %}", "{{ nested }}", "{{ nested.a[1].b }}", "{{ people }}", "{{ namespace }}"[:0] + "x", "{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}", "{{ '%s' | format(s) }}{{ \"{}\".format(s) }}", "{{ u|tojson|length }}{{ u|list|length }}", "{{ [s, s]|unique|list|tojson }}", "{% set a = b = 1 %}", "{{ 1if n else 2 }}", "{{ n if n else }}", "{{ (1, 2)[0] }}{{ {'x': 1}['x'] }}{{ 'abc'[1] }}", "{{ [1, 2, 3] | first + 1 }}", "{{ {'a': 1}.items() | list | first | last }}", "{{ ''.join(['a', 'b']) }}{{ 'x'.join(l|map('string')) }}", "{% set x = {'a': 1} %}{{ x.a }}{% set x = dict(x, b=2) %}{{ x }}", "{{ messages | tojson }}", "{{ messages | tojson(indent=4) }}", "{{ l.__len__() }}", "{{ self }}"[:0] + "y", "{{ 'aaaaa bbbbbbbb' | wordwrap(5) }}|{{ \"'g', 'arguments' x\" | wordwrap(5) }}", "{{ dict(missing, a=1) }}", "{{ namespace(missing) }}", "{{ words | sort(attribute='n') }}", "{{ [none, missing, none] | sort }}", "{{ [none, none] | sort }}{{ [{}, {}] | sort | length }}", "{{ people | sort(attribute='a') }}", "{{ {} in d.keys() }}", "{{ 'b' in d.keys() }}{{ ('b', 1) in d.items() }}", "{{ d is filter }}", "{{ [] is test }}", "{{ ('<'|e).join([1, '&', d.C, '<'|e]) }}", "{{ ','.join([1]) }}", "{{ True and False }}{{ None }}", "{{ true is boolean }}", "{{ s | upper | lower | title | length }}",
]


def cases():
    out = []
    for table in (EXPRESSIONS, TESTS):
        for line in table.strip().splitlines():
            for e in split(line):
                out.append(("{{ " + e + " }}", V))
    for line in FILTERS.strip().splitlines():
        for e in filters(line):
            out.append(("{{ " + e + " }}", V))
    return out + [(t, V) for t in STATEMENTS]


def split(line):
    """Cuts at bars that do not start a filter: a list of known filter names decides."""
    return filters(line)


def filters(line):
    names = {"upper", "lower", "title", "capitalize", "length", "count", "string", "trim", "replace", "join", "first", "last", "default", "d",
             "int", "float", "abs", "round", "selectattr", "rejectattr", "select", "reject", "map", "list", "sum", "sort", "unique", "reverse",
             "items", "dictsort", "tojson", "safe", "e", "escape", "forceescape", "indent", "min", "max", "batch", "slice", "groupby",
             "wordwrap", "truncate", "center", "wordcount", "urlencode", "filesizeformat", "format", "attr", "nope"}
    parts, quote, depth, part, i = [], "", 0, "", 0
    while i < len(line):
        c = line[i]
        if quote:
            if c == "\\":
                part += line[i:i + 2]
                i += 2
                continue
            if c == quote:
                quote = ""
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "|" and depth == 0:
            word = ""
            for k in line[i + 1:]:
                if not (k.isalnum() or k == "_"):
                    break
                word += k
            after = line[i + 1 + len(word):i + 2 + len(word)]
            # "d", "e" and "s" are also variables: a bar before them starts a case when they stand alone or before a dot, bracket or bar
            alone = word in ("d", "e") and after in ("", ".", "[", "|", " ") and not part.startswith(("missing", "'<b>", "'<", "5"))
            if word not in names or alone:
                parts.append(part)
                part = ""
                i += 1
                continue
        part += c
        i += 1
    parts.append(part)
    return parts
