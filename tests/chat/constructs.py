"""Small templates, each for one construct, and what Python's jinja2 makes of them.

    python3 tests/chat/constructs.py    writes tests/chat/golden/constructs.json
"""
import json
from pathlib import Path

from reference import render

VARIABLES = {
    "messages": [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Hello\nWorld"},
        {"role": "assistant", "content": "Hi! Ünïcödé ß 東京 🙂", "tags": ["a", "b"]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": [1, 2.5, None, True], "y": {}}}}],
    "bos_token": "<s>",
    "eos_token": "</s>",
    "name": "Name",
    "text": "  The quick-brown fox (jumps) over\tthe lazy dog's back\n",
    "lines": "one\ntwo\r\nthree\n\nfive",
    "numbers": [3, 1, 2, 10, -5],
    "mixed": [1, "two", 3.5, None, True, [1, "x"], {"k": "v"}],
    "people": [
        {"name": "bob", "age": 30, "address": {"city": "Rome"}, "active": True},
        {"name": "Alice", "age": 25, "address": {"city": "Oslo"}, "active": False},
        {"name": "carol", "age": 30, "active": True},
    ],
    "mapping": {"b": 1, "a": [1, 2], "C": None, "items": "shadowed"},
    "empty": "",
    "nothing": None,
    "yes": True,
    "no": False,
    "n": 7,
    "x": 2.5,
    "big": 12345678901234,
    "add_generation_prompt": True,
}

EXPRESSIONS = r"""
1
-1
1_000
0x1F
0o17
0b101
1.5
1.0
1e3
1.5e-7
1e16
123456789012345.0
1e15
1e-4
0.00001
100000000000000000000.0
1e400 if false else 0
.5
'a' 'b' "c"
"tab\t nl\n q\" b\\ \x41 \u00e9 \U0001F642 \101 \q"
'it\'s'
true
True
none
None
false
True and False
nothing
yes
undefined_name
undefined_name.attribute
undefined_name['x']
undefined_name()
undefined_name + 1
1 + undefined_name
undefined_name ~ 'x'
undefined_name == undefined_other
undefined_name == ''
undefined_name is defined
undefined_name|default('d')
undefined_name|default
empty|default('d')
empty|default('d', true)
empty|default('d', boolean=true)
nothing|default('d')
nothing|d('d', true)
1 + 2 * 3
(1 + 2) * 3
7 / 2
6 / 2
7 // 2
-7 // 2
7 // -2
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 // 2
-7.5 % 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2.0 ** 0.5
1 / 0
1 // 0
1 % 0
1.0 / 0
0.1 + 0.2
1 + 1.0
True + 1
x * n
n * 2 - 1
+5
-x
- -3
'a' + 'b'
'a' + 1
'a' * 3
3 * 'ab'
'ab' * 0
'ab' * -1
[1] * 3
(1, 2) * 2
[1] + [2]
(1,) + (2,)
[1] + (2,)
'a' ~ 1 ~ none ~ true ~ 2.0 ~ [1, 'x']
1 < 2
1 < 2 < 3
1 < 3 < 2
1 == 1.0
1 == true
'a' < 'b'
'a' == 'a'
'a' != 'b'
[1, 2] < [1, 3]
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
1 < 'a'
none < 1
none == false
none == none
'a' in 'abc'
'' in 'abc'
'z' in 'abc'
1 in 'abc'
1 in [1, 2]
1 not in [1, 2]
'b' in mapping
'z' not in mapping
1 in 5
'a' in undefined_name
[1] in mapping
not true
not not 1
not 1 == 2
1 or 2
0 or 2
0 or ''
1 and 2
0 and 2
1 and 0 or 3
'x' if yes else 'y'
'x' if no else 'y'
'x' if no
'x' if no else 'y' if no else 'z'
(1, 2)
(1,)
()
1, 2
[]
[1, 'a', none, true, 2.5]
[1, 2,]
{}
{'a': 1, 'b': [1, {'c': "it's"}]}
{1: 'one', 2.5: 'x', none: 1, true: 2}
{'a': 1, 'a': 2}
{[1]: 2}
["it's", 'say "hi"', 'both \' and "', 'tab\t', 'é', '\x00\x7f\u200b\u00ad', '🙂', '\\']
mixed
mapping
messages
tools
people[0]
people[0].name
people[0]['name']
people[0].address.city
people[2].address
people[2].address.city
people[-1].name
people[5]
people[5].name
people['x']
people.0.name
numbers[1:3]
numbers[:2]
numbers[-2:]
numbers[::2]
numbers[::-1]
numbers[3:0:-1]
numbers[10:]
numbers[-100:100]
numbers[1:3:0]
numbers['a':]
numbers[none:2]
numbers[true]
numbers[1.0]
name[0]
name[-1]
name[10]
name[1:3]
name[::-1]
messages[2].content[4:12]
messages[2].content[::-1]
messages[2].content[-1]
messages[2].content[::3]
messages[2].content[-3::-2]
nothing[1:]
nothing[0]
nothing.x
mapping[1:2]
n[0]
n.x
(1, 2, 3)[1:]
range(5)
range(5)[2]
range(10)[2:8:3]
range(2, 8)|list
range(10, 0, -3)|list
range(0)|list
range(3, 1)|list
range(1, 2, 0)
range(100000)|length
range(100001)
range(1000000000)
range('a')
range(5) == [0, 1, 2, 3, 4]
3 in range(5)
mapping.items()
mapping.items
mapping['items']
mapping.keys()|list
mapping.keys()
mapping.values()
mapping.keys()[0]
mapping.keys()|length
mapping.get('b')
mapping.get('z')
mapping.get('z', 'd')
mapping.get('z', default='d')
mapping.get()
mapping.b
mapping.z
mapping.z.y
mapping.copy()
mapping.update({'q': 1})
mapping.pop('b')
mapping.pop is defined
mapping.setdefault('b', 1)
numbers.append(1)
numbers.append
numbers.sort()
numbers.pop()
numbers.index(2)
numbers.index(99)
numbers.count(1)
numbers.copy()
name.__class__
name.__class__.__mro__
''.__class__.__base__
mapping.__init__
name._private
name.nothing_such
name.nothing_such()
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('a', 1)])
dict(mapping).b
text.strip()
text.lstrip()
text.rstrip()
text.strip(' \nTk')
'xxaxx'.strip('x')
'xxaxx'.lstrip('x')
'xxaxx'.rstrip('x')
'\u00a0\u3000x\u2003'.strip()
'\u200bx'.strip()
text.strip(none)
text.split()
text.split(none, 2)
text.split(' ')
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b,,c'.rsplit(',', 1)
'a,b,,c'.split(sep=',', maxsplit=2)
' a  b '.rsplit(none, 1)
' a  b  c '.split(none, 1)
'abc'.split('')
''.split()
''.split(',')
'a</think>b</think>c'.split('</think>')[-1]
'a</think>b</think>c'.split('</think>', 1)
lines.splitlines()
lines.splitlines(true)
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
'abc'.rpartition('=')
name.startswith('Na')
name.startswith(('x', 'Na'))
name.startswith('am', 1)
name.endswith('me')
name.endswith(('x', 'y'))
name.startswith('')
name.startswith(1)
name.startswith('x', 10)
name.startswith('', 10)
name.upper()
name.lower()
'ß ŉ ﬁ ǆ'.upper()
'ÀÉİ Σ ΑΣ ΑΣΑ'.lower()
'hello WORLD it\'s'.title()
'hello WORLD'.capitalize()
'ǆabc ß'.capitalize()
'ǆabc ßx'.title()
'Hello'.swapcase()
'a-b'.replace('-', '+')
'aaa'.replace('a', 'b', 2)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
'aé'.replace('', '|')
'abc'.replace('x', 'y')
'aXbXc'.replace('X', '')
'abc'.find('c')
'abcabc'.rfind('b')
'abc'.find('z')
'東京x'.find('x')
'abc'.index('z')
'abc'.find('b', 2)
'banana'.count('an')
'banana'.count('')
'banana'.count('a', 2, 4)
','.join(['a', 'b'])
','.join([1])
','.join('abc')
''.join([])
'{} {}'.format(1, 'a')
'{0}{1}{0}'.format('a', 'b')
'{x}'.format(x=1)
'{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c')
'{:05d} {:.2f} {:,}'.format(42, 3.14159, 1234567)
'{:*^9}'.format('mid')
'{!r}'.format('a')
'{{}}'.format()
'{}'.format()
'{'.format(1)
'%s and %d' % ('a', 3)
'%s' % 'x'
'%05.1f|%-5s|%5s|%x' % (2.25, 'a', 'b', 255)
'%d' % 2.9
'%d' % 'a'
'%s %s' % ('a',)
'%s' % ('a', 'b')
'%(k)s' % {'k': 'v'}
'100%%' % ()
'%s' % none
'%s' % [1]
'%r' % 'q'
'abc'.isalpha()
'abc1'.isalnum()
'123'.isdigit()
''.isdigit()
' \t'.isspace()
'ABC'.isupper()
'abc'.islower()
'Abc'.isupper()
'123'.isupper()
'abc'.removeprefix('a')
'abc'.removesuffix('c')
'abc'.removeprefix('x')
'a'.center(5)
'ab'.center(5, '*')
'a'.ljust(3) + '|'
'a'.rjust(3)
'42'.zfill(5)
'-42'.zfill(5)
'a'.ljust(3, 'ab')
'a'.nothing()
n.upper()
text|trim
text|trim(' T')
'xax'|trim('x')
n|trim
name|upper
name|lower
n|upper
'hello world-wide (web) it\'s'|title
'HELLO'|title
'hELLO wORLD'|capitalize
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent('>> ', first=true, blank=true)
lines|indent(width=1, blank=true)
n|indent
'a\nb\n'|indent
''|indent
'abc'|replace('b', 'x')
'aaa'|replace('a', 'b', 2)
n|replace(7, 8)
'abc'|center(9)
'%s-%s'|format('a', 1)
name|length
name|count
messages[2].content|length
numbers|length
mapping|length
n|length
nothing|length
undefined_name|length
name|list
mapping|list
numbers|list
n|list
undefined_name|list
numbers|first
numbers|last
name|first
name|last
mapping|first
mapping|last
[]|first
[]|last
[]|first is defined
''|first
numbers|join
numbers|join(', ')
['a', 1, none]|join('-')
name|join('.')
people|join(', ', attribute='name')
people|join('|', 'age')
n|join
numbers|sort
numbers|sort(reverse=true)
['b', 'A', 'c']|sort
['b', 'A', 'c']|sort(case_sensitive=true)
['b', 'A', 'c']|sort(true)
people|sort(attribute='age')|map(attribute='name')|list
people|sort(attribute='age,name')|map(attribute='name')|list
people|sort(attribute='name', reverse=true)|map(attribute='name')|list
[1, 'a']|sort
[1, none]|sort
mapping|dictsort
mapping|dictsort(true)
mapping|dictsort(false, 'key', true)
{'x': 2, 'y': 1}|dictsort(by='value')
mapping|dictsort(by='value')
mapping|dictsort(by='else')
n|dictsort
numbers|reverse|list
numbers|reverse
name|reverse
range(3)|reverse|list
mapping|items|list
undefined_name|items|list
n|items
[1, 1, 2, 'a', 'A', 'b']|unique|list
['a', 'A']|unique(case_sensitive=true)|list
[1, 1.0, true, 2]|unique|list
people|unique(attribute='age')|map(attribute='name')|list
numbers|max
numbers|min
['b', 'A']|min
[]|max
people|max(attribute='age')
numbers|sum
[1.5, 2]|sum
[1, 2]|sum(start=10)
people|sum(attribute='age')
['a']|sum
numbers|batch(2)|list
numbers|batch(2, 0)|list
numbers|slice(2)|list
numbers|slice(2, 'x')|list
range(10)|slice(3)|list
people|groupby('age')
people|groupby('age')|map('first')|list
people|groupby('address.city', default='?')|map('first')|list
people|map(attribute='name')|list
people|map(attribute='address.city')|list
people|map(attribute='address.city', default='?')|list
people|map(attribute='nope')|list
['a', 'b']|map('upper')|list
['a', 'b']|map('upper')|join
[' a ', 'b']|map('trim')|list
numbers|map('string')|join('+')
['a-b', 'c']|map('replace', '-', '+')|list
numbers|map('nosuchfilter')|list
numbers|map|list
people|selectattr('active')|map(attribute='name')|list
people|rejectattr('active')|map(attribute='name')|list
people|selectattr('age', 'equalto', 30)|map(attribute='name')|list
people|selectattr('age', '>', 26)|map(attribute='name')|list
people|selectattr('address', 'defined')|list|length
people|rejectattr('address', 'defined')|list|length
people|selectattr('address.city', 'equalto', 'Rome')|list|length
messages|selectattr('role', 'in', ['user', 'system'])|list|length
messages|rejectattr('role', 'equalto', 'system')|map(attribute='role')|join(',')
messages|selectattr('role', 'ne', 'system')|list|length
people|selectattr|list
numbers|select('odd')|list
numbers|select('greaterthan', 1)|list
numbers|reject('even')|list
mixed|select|list
mixed|select('string')|list
mixed|reject('none')|list
mixed|select('nosuchtest')|list
mapping|map('upper')|list
none|map('upper')|list
'42'|int
' 42 '|int
'42.9'|int
'x'|int
'x'|int(5)
'x'|int(default=-1)
'ff'|int(0, 16)
'0x1f'|int(0, 16)
'0x1f'|int(0, 0)
'1_000'|int
'_1'|int
3.9|int
-3.9|int
true|int
none|int
[]|int
'1e3'|int
'inf'|int
'nan'|int
undefined_name|int
'٣'|int
'1.5'|float
'x'|float
'x'|float(2.0)
' 1e3 '|float
'inf'|float
'-Infinity'|float
'nan'|float
1|float
none|float
3.14159|round(2)
2.5|round
3.5|round
-2.5|round
2.675|round(2)
42.55|round(1, 'floor')
42.41|round(1, 'ceil')
7|round
1234|round(-2)
1250.0|round(-2)
3|round(1)
-5|abs
-2.5|abs
'a'|abs
n|string
none|string
[1]|string
1.0|string
n|string ~ 'x'
tools|tojson
tools|tojson(indent=2)
tools|tojson(indent=0)
mixed|tojson
mixed|tojson(indent=4)
mapping|tojson(sort_keys=true)
mapping|tojson(separators=(',', ':'))
mapping|tojson(indent=1, separators=(', ', ' = '))
messages[2]|tojson
messages[2]|tojson(ensure_ascii=true)
'"\\/\b\f\n\r\t\x00\x1f\x7f\u2028<>&\''|tojson
{1: 1, 2.5: 2, none: 3, true: 4}|tojson
{(1, 2): 1}|tojson
[]|tojson(indent=2)
{}|tojson(indent=2)
[[], {}]|tojson(indent=2)
(1, 2)|tojson
1.0|tojson
1e100|tojson
'inf'|float|tojson
undefined_name|tojson
{'a': undefined_name}|tojson
range(3)|tojson
'<a href="x">\'&'|e
'<b>'|escape|upper
'<b>'|safe
'foo bar baz qux'|truncate(9)
'foo bar baz qux'|truncate(9, true)
'foo bar baz qux'|truncate(11)
'foo bar baz qux'|truncate(11, false, '...', 0)
'one two_three 4'|wordcount
name|nosuchfilter
name|attr('upper')
name|upper|lower|title
1|string|length
name is string
n is string
n is number
x is number
true is number
n is integer
true is integer
x is float
n is float
yes is boolean
n is boolean
yes is true
no is false
n is true
nothing is none
undefined_name is none
nothing is not none
name is not string
mapping is mapping
numbers is mapping
numbers is sequence
name is sequence
mapping is sequence
n is sequence
nothing is sequence
undefined_name is sequence
numbers is iterable
name is iterable
mapping is iterable
n is iterable
undefined_name is iterable
mapping.items() is sequence
mapping.items() is iterable
numbers|map('string') is iterable
numbers|map('string') is sequence
n is odd
n is even
'a' is odd
n is divisibleby 7
n is divisibleby(2)
n is eq 7
n is equalto 7
n is sameas 7
n is ne 8
n is gt 3
n is lt 3
n is ge 7
n is le 6
n is in [1, 7]
'a' is in 'abc'
name is upper
'ABC' is upper
'abc' is lower
name is defined
name is undefined
name is callable
range is callable
name.upper is callable
'upper' is filter
'nosuch' is filter
'odd' is test
n is nosuchtest
n is not divisibleby 2
n is defined and n > 3
not n is defined
n is divisibleby 7 and yes
name is string and n is number
n is is
namespace(a=1).a
namespace(a=1)['a']
namespace({'a': 1}).a
namespace(_a=1)
namespace(a=1).b
namespace(a=1)
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %H:%M:%S %A %B %j')
strftime_now('%-d/%-m/%y %I %p')
strftime_now('')
raise_exception('no')
[1, 2, 3] | length + 1
-1 | abs
- 1 | abs
'a' ~ 'b' | upper
1 + 2 | string
[1, 2][0] + 1
{'a': {'b': 1}}.a.b
'abc'[1]
('a', 'b')[1]
[[1, 2], [3]][0][1]
'x'.upper().lower()
name.upper()|lower
(1 if yes else 2) + 1
[1, 2, 3] is iterable
not yes and no
yes and not no
(yes or no) and no
n if n > 5 else 0
n > 5 and n < 10
5 < n < 10
'a' if 'b' else 'c' ~ 'd'
1 if 0 else 2 if 0 else 3
name.lower() in ['name']
'a' 'b'.upper()
"%s" % name ~ '!'
{'a': 1}['a']
{'a': 1}.get('a')
{'a': 1, **mapping}
[*numbers]
(lambda x: x)
numbers[0, 1]
name.upper(
1 +
)
}
n =! 3
n === 3
'unclosed
@
a.b.
a|
a is
a is not
1 2
{'a'}
{'a':}
[1 2]
f(a=1, 2)
if
for
import os
big
big * big
big * 1000000
""".strip("\n").split("\n")

TEMPLATES = [
    "plain text",
    "",
    "\n",
    "text\n",
    "text\n\n",
    "a\r\nb\rc\n",
    "{{ 1 }}\n",
    "{{ 1 }}\n\n",
    "{% if yes %}\nA\n{% endif %}\nB",
    "  {% if yes %}\n  A\n  {% endif %}\nB",
    "  {%+ if yes %}\n  A\n  {%+ endif %}\nB",
    "x {% if yes %} y {% endif %} z",
    "x {%- if yes -%} y {%- endif -%} z",
    "x \n\n {%- if yes -%} \n\n y \n {%- endif -%} \n z",
    "{% if yes +%}\nA\n{% endif +%}\nB",
    "a {{- ' b ' -}} c",
    "a  {{ n }}  c",
    "\t {{ n }}",
    "\t {# comment #}\nB",
    "a {#- comment -#} b",
    "a {# multi\nline #}\nb",
    "a\n   {# c #}   \nb",
    "a {#+ c +#}\nb",
    "{# {{ not }} {% parsed %} #}x",
    "{# unclosed",
    "{#}x#}y",
    "{{ '#}' }}{# a #}",
    "{% raw %}{{ raw }} {% if %}{% endraw %}",
    "a\n  {% raw %}\n  {{ x }}\n  {% endraw %}\nb",
    "a\n  {%- raw -%}\n  {{ x }}\n  {%- endraw -%}\nb",
    "{% raw %}\n{% endraw %}\nx",
    "{% raw %}unclosed",
    "{%raw%}x{%endraw%}",
    "{% rawx %}",
    "{{ '}}' }}",
    "{{ '%}' }}{% if '%}' == '%}' %}x{% endif %}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ n }",
    "{{ n",
    "{% if yes %",
    "{% if yes %}x",
    "{% endif %}",
    "{% else %}",
    "{% unknown %}",
    "{% 1 %}",
    "{{ }}",
    "{{}}",
    "{%%}",
    "{{ n }}}",
    "{ { n } }",
    "{",
    "a { b",
    "}}",
    "{{ n\n}}",
    "{{\n\n n }}x",
    "\u00a0{% if yes %}x{% endif %}\u00a0y",
    "a\u00a0\n\u00a0{%- if yes -%}\u00a0x\u00a0{%- endif %}",
    "{% if n == 7 %}a{% elif n == 8 %}b{% else %}c{% endif %}",
    "{% if n == 8 %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if n == 8 %}a{% elif n == 9 %}b{% elif no %}d{% else %}c{% endif %}",
    "{% if n == 8 %}a{% endif %}b",
    "{% if yes: %}a{% endif %}",
    "{% if yes, no %}a{% endif %}",
    "{% if yes if no %}a{% endif %}",
    "{% if %}a{% endif %}",
    "{% if yes %}{% set z = 1 %}{% endif %}{{ z }}",
    "{% if no %}{% set z = 1 %}{% endif %}{{ z is defined }}",
    "{% if yes %}{% if no %}a{% else %}b{% endif %}c{% endif %}",
    "{% for i in numbers %}{{ i }},{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}",
    "{% for i in numbers %}x{% else %}empty{% endfor %}",
    "{% for i in undefined_name %}x{% else %}empty{% endfor %}",
    "{% for i in nothing %}x{% endfor %}",
    "{% for i in n %}x{% endfor %}",
    "{% for c in name %}{{ c }}-{% endfor %}",
    "{% for c in '東京🙂' %}{{ c }}-{% endfor %}",
    "{% for k in mapping %}{{ k }},{% endfor %}",
    "{% for k, v in mapping.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in mapping|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for (k, v) in mapping.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in [(1, 2, 3)] %}{{ k }}{% endfor %}",
    "{% for k, v in [1] %}{{ k }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for k, in [(1,)] %}{{ k }}{% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}",
    "{% for i in numbers if i > 1 %}{{ i }}:{{ loop.index }}/{{ loop.length }},{% endfor %}",
    "{% for i in numbers if i > 100 %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in numbers if loop.first %}{{ i }}{% endfor %}",
    "{% for p in people if p.active %}{{ p.name }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for i in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for i in numbers %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
    "{% for i in numbers %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for i in numbers %}{{ loop.cycle('odd', 'even') }} {% endfor %}",
    "{% for i in numbers %}{{ loop.cycle() }}{% endfor %}",
    "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }} {% endfor %}",
    "{% for i in numbers %}{{ loop }} {% endfor %}",
    "{% for i in numbers %}{{ loop.nosuch }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [3, 4] %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }};{% endfor %}",
    "{% for i in [1, 2] %}{% set outer = loop %}{% for j in [3, 4] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{{ loop }}",
    "{{ loop.index }}",
    "{% set z = 1 %}{% for i in numbers %}{% set z = i %}{% endfor %}{{ z }}",
    "{% set z = 1 %}{% for i in numbers %}{{ z }}{% set z = i %}{{ z }} {% endfor %}",
    "{% for i in numbers %}{% endfor %}{{ i }}",
    "{% for i in numbers %}{% if i == 2 %}{% break %}{% endif %}{{ i }} {% endfor %}",
    "{% for i in numbers %}{% if i == 2 %}{% continue %}{% endif %}{{ i }} {% endfor %}",
    "{% for i in [1] %}{% break %}{% else %}x{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1, 2] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% break %}",
    "{% for i in [1, 2] %}{% for j in [] %}{% else %}{% break %}{% endfor %}{{ i }}{% endfor %}",
    "{% for i in [1, 2] %}{% continue %}{% else %}x{% endfor %}",
    "{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}x{% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}",
    "{% for i in range(100001) %}x{% endfor %}",
    "{% for i in numbers|map('string') %}{{ i }}{{ loop.last }} {% endfor %}",
    "{% set g = numbers|map('string') %}{% for i in g %}{{ i }} {% endfor %}|{% for i in g %}{{ i }} {% endfor %}",
    "{% set g = numbers|map('string') %}{{ g|first }}{{ g|list }}{{ g|list }}",
    "{% set g = numbers|select %}{{ 1 in g }}{{ g|list }}",
    "{% for x in [[1, [2, [3]]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}",
    "{% for x in [1] %}{{ loop([2]) }}{% endfor %}",
    "{% for true in [1] %}{% endfor %}",
    "{% for x.y in [1] %}{% endfor %}",
    "{% for x in %}{% endfor %}",
    "{% for x %}{% endfor %}",
    "{% set a = 1 %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2, 3] %}{{ a }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a = %}",
    "{% set none = 1 %}",
    "{% set a = 'x' if no %}{{ a is defined }}",
    "{% set a %}x{{ n }}{% endset %}[{{ a }}]",
    "{% set a | upper %}abc{{ name }}{% endset %}[{{ a }}]",
    "{% set a | upper | replace('A', '-') %}abc{% endset %}[{{ a }}]",
    "{% set a %}{% set b = 1 %}{% endset %}{{ b is defined }}",
    "{% set ns = namespace(x=1) %}{% for i in numbers %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.list = [] %}{% for i in numbers %}{% set ns.list = ns.list + [i * 2] %}{% endfor %}{{ ns.list }}",
    "{% set ns = namespace(a=1) %}{% set ns.b %}text{% endset %}{{ ns.a }}{{ ns.b }}",
    "{% set ns = namespace(a=1, b='x') %}{{ ns }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set mapping.x = 1 %}",
    "{% set undefined_name.x = 1 %}",
    "{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}",
    "{% set ns = namespace() %}{% set ns.self = ns %}{{ ns.self.self is defined }}",
    "{% set messages = messages[1:] %}{% for m in messages %}{{ m.role }} {% endfor %}",
    "{% if messages[0].role == 'system' %}{% set messages = messages[1:] %}{% endif %}{{ messages|length }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(a=5, b=6) }} {{ m() }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}",
    "{% macro m() %}{{ name }}{{ n }}{% endmacro %}{{ m() }}",
    "{% set z = 1 %}{% macro m() %}{{ z }}{% endmacro %}{% set z = 2 %}{{ m() }}",
    "{% macro m() %}{% set z = 5 %}{{ z }}{% endmacro %}{{ m() }}{{ z is defined }}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m(x) -%}\n  {{ x }}\n{%- endmacro %}[{{ m(1) }}]",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(1)|length }}{{ m('ab')|upper }}{{ m(1) == '1' }}",
    "{% macro m(x) %}{{ x is defined }}{{ x }}{% endmacro %}{{ m() }}",
    "{% macro m(x) %}{{ x.y }}{% endmacro %}{{ m() }}",
    "{% macro m(x, y=1, z) %}{% endmacro %}",
    "{% macro m %}{% endmacro %}",
    "{{ m(1) }}{% macro m(x) %}{{ x }}{% endmacro %}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m.name }}",
    "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}inner {{ n }}{% endcall %}",
    "{% macro m() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b) m() %}{{ a }}+{{ b }}{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}inner{% endcall %}",
    "{% call n %}x{% endcall %}",
    "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}{{ m(1, *[2]) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}{% for x in a %}{% break %}{% endfor %}{% endmacro %}{{ m([1]) }}",
    "{% for i in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% with a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{% endwith %}",
    "{% filter upper %}abc {{ name }}{% endfilter %}",
    "{% filter replace('a', 'b') | upper %}abc{% endfilter %}",
    "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% generation %}x{{ n }}{% endgeneration %}y",
    "{% generation %}\nx\n{% endgeneration %}\ny",
    "{% for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}{% endfor %}",
    "{% set z = 1 %}{% generation %}{% set z = 2 %}{% endgeneration %}{{ z }}",
    "{% print 1, 'a' %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% do numbers.append(1) %}",
    "{% set x = numbers.append(1) %}",
    "{{ raise_exception('a ' ~ n) }}",
    "{% if no %}{{ raise_exception('never') }}{% endif %}ok",
    "{{ messages[0]['content'] | trim }}|{{ messages[1]['content'].split('\\n')[0] }}",
    "{%- for m in messages -%}\n{{ m.role }}: {{ m.content | trim }}\n{% endfor %}",
    "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- m.content }}\n    {%- endif %}\n{%- endfor %}",
    "{% for m in messages %}\n{{ m.role }}\n{% endfor %}\nend",
    "{% for m in messages -%}\n{{ m.role }}\n{%- endfor %}\nend",
    "{% for m in messages +%}\n{{ m.role }}\n{%+ endfor %}\nend",
    "a\n    {{ n }}\n    {% if yes %}\n    b\n    {% endif %}\nc",
    "a{% if yes %}\n\n\nb{% endif %}",
    "{% set a = 1 -%}   \n\n  {{ a }}",
    "   {%- set a = 1 %}\n{{ a }}",
    "{% if messages is defined and messages|length > 0 and messages[0].role == 'system' %}S{% endif %}",
    "{% set found = namespace(value=false) %}{% for m in messages %}{% if m.role == 'assistant' %}{% set found.value = true %}{% endif %}{% endfor %}{{ found.value }}",
    "{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}",
    "{% for m in messages[:-1] %}{{ loop.index0 }}{% endfor %}",
    "{% for m in messages %}{{ messages[loop.index0 - 1].role }} {{ messages[loop.index0 + 1].role if not loop.last }};{% endfor %}",
    "{% set z = {'a': 1} %}{{ z.a }}{{ z['a'] }}{{ z.b }}{{ z.b is none }}",
    "{% set messages = [{'role': 'user', 'content': 'x'}] + messages %}{{ messages|length }}{{ messages[0] }}",
    "{{ '<|' ~ messages[0].role ~ '|>' }}",
    "{{ ('a' if yes else 'b') ~ 'c' }}{{ 'x' if n > 5 }}",
    "{% if 'tags' in messages[2] and messages[2].tags %}{{ messages[2].tags|join('/') }}{% endif %}",
    "{{ messages|map(attribute='content')|map('trim')|join(' | ') }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|first }}",
    "{{ (messages|selectattr('role', 'equalto', 'user')|list)[-1].content }}",
    "{{ (messages|last).role }}{{ messages|length is odd }}",
    "{{ tools|map(attribute='function.name')|join }}",
    "{% for tool in tools %}{% set tool = tool.function %}{{ tool.name }}{% for k, v in tool.items() %}{{ k }}{{ v is string }}{% endfor %}{% endfor %}",
    "{{ (1, 2) in [(1, 2)] }}{{ [1, [2]] == [1, [2]] }}",
    "{{ dict(a=1).items()|list }}",
    "{{ namespace is defined }}",
    "{{ [undefined_name] }}{{ [none, undefined_name]|length }}",
    "{{ undefined_name is iterable }}{% for x in undefined_name.y %}{% endfor %}",
    "{{ name is none or name == 'Name' }}",
    "{{ not (name and n) }}",
    "{{ n if n is defined else 'x' }}",
    "{% set x = x|default(1) + 1 %}{{ x }}",
    "{% set q = q|default('d') %}{{ q }}",
    "{{ 'a\nb' }}",
    "{{ \"a\\\nb\" }}",
    "{{ 'é' }}{{ 'é'|length }}",
    "é{{ n }}🙂",
    "{{ été }}",
    "{% set été = 1 %}{{ été }}",
]


def main():
    cases = [{"template": "{{ " + one + " }}", "expected": render("{{ " + one + " }}", VARIABLES)}
             for one in EXPRESSIONS]
    cases += [{"template": one, "expected": render(one, VARIABLES)} for one in TEMPLATES]
    # What prints an object's address prints something else each time.
    cases = [case for case in cases if " at 0x" not in (case["expected"] or "")]
    golden = Path(__file__).parent / "golden" / "constructs.json"
    with open(golden, "w") as out:
        out.write('{"variables": ' + json.dumps(VARIABLES, ensure_ascii=False) + ',\n"cases": [\n')
        out.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases))
        out.write("\n]}\n")
    refused = sum(case["expected"] is None for case in cases)
    print(f"{len(cases)} cases, {refused} refused")


if __name__ == "__main__":
    main()
