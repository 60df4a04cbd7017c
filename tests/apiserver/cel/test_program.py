"""Expressions: Kubernetes' functions, errors in cel-go's words, and bounds."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apiserver.cel import CompileError, EvaluationError, compile_program
from apiserver.cel.construct import as_maps
from apiserver.cel.growth import growth

OBJECT = {"a": 1, "l": [3, 1, 2], "q": "10Mi", "s": "x,y", "none": None}


def _value(expression: str) -> Any:
    return compile_program(expression, ("object",)).evaluate({"object": OBJECT})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("object.a + 1", 2),
        ("object.none == null", True),
        ("has(object.nothing)", False),
        ("object.?nothing.orValue('d')", "d"),
        ("object.s.split(',')", ["x", "y"]),
        ("object.l.sum() + object.l.min() + object.l.max()", 10),
        ("object.l.isSorted()", False),
        ("sets.contains(object.l, [1, 2])", True),
        ("sets.equivalent(object.l, [1, 2, 3])", True),
        ("sets.intersects(object.l, [9])", False),
        ("quantity(object.q).compareTo(quantity('10485760'))", 0),
        ("quantity('100m').add(quantity('0.9')).asInteger()", 1),
        ("quantity('3').sub(1).isGreaterThan(quantity('1500m'))", True),
        ("isQuantity('10X')", False),
        ("ip('10.0.0.1').family()", 4),
        ("isIP('::1') && ip('::1').isLoopback()", True),
        ("cidr('10.0.0.0/8').containsIP('10.9.9.9')", True),
        ("cidr('10.0.0.0/8').containsCIDR('11.0.0.0/16')", False),
        ("cidr('10.1.0.0/16').prefixLength()", 16),
        ("isCIDR('10.0.0.1')", False),
        ("url('https://h:80/p?k=v').getHostname() + url('https://h:80/p').getPort()", "h80"),
        ("url('https://h/p?k=v').getQuery()", {"k": ["v"]}),
        ("isURL('relative')", False),
        ("'abc 123 def 45'.find('[0-9]+')", "123"),
        ("'abc'.find('[0-9]+')", ""),
        ("'abc 123 def 45'.findAll('[0-9]+')", ["123", "45"]),
        ("'abc 123 def 45'.findAll('[0-9]+', 1)", ["123"]),
        ("object.l.indexOf(1) + object.l.lastIndexOf(9)", 0),
        ("['a', 'b', 'a'].lastIndexOf('a')", 2),
        ("object.s.indexOf(',') + 'a.indexOf('.lastIndexOf('indexOf')", 3),
        ("'abcabc'.indexOf('a', 1) + 'abcabc'.lastIndexOf('a', 2)", 3),
        ("[1, [2, [3]]].flatten().size() + object.l.slice(1, 3).size()", 5),
        ("[1, 2, 1].distinct() + [3, 1].sort() + lists.range(2).reverse()", [1, 2, 1, 3, 1, 0]),
        ("format.dns1123Label().validate('Web').hasValue()", True),
        ("!format.dns1123Label().validate('web').hasValue()", True),
        ("format.named('qualifiedName').value().validate('a/b/c').value().size()", 1),
        ("format.named('nothing').hasValue()", False),
        ("!format.dns1035LabelPrefix().validate('web-').hasValue()", True),
        ("format.uuid().validate(object.s).value()", ["does not match the UUID format"]),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", True),
        ("semver('1.0.0-rc.2').compareTo(semver('1.0.0-rc.10'))", -1),
        ("semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))", True),
        ("semver('v01.2', true).major() + semver('1.7.9').minor() + semver('1.2.3').patch()", 11),
        ("isSemver('1.0') || isSemver('01.0.0')", False),
        ("isSemver('v1.0', true)", True),
        ("ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1')", True),
        ("ip('10.0.0.1').isGlobalUnicast() && ip('fe80::1').isLinkLocalUnicast()", True),
        ("ip('224.0.0.9').isLinkLocalMulticast() && ip('ff02::1').isLinkLocalMulticast()", True),
        ("isIP('::ffff:1.2.3.4') || isIP('fe80::1%eth0') || isIP('01.2.3.4')", False),
        ("cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", True),
        ("string(cidr('10.1.2.3/8').masked()) + string(ip('::0001'))", "10.0.0.0/8::1"),
        ("string(ip('::1').family()) + string(object.a)", "61"),
        ("isCIDR('::ffff:1.2.3.4/96') || isCIDR('10.0.0.0/08')", False),
        ("url('https://h/a b').getEscapedPath()", "/a%20b"),
        ("quantity('1').isInteger() && !quantity('1500m').isInteger()", True),
        ("jsonpatch.escapeKey('a/b~c')", "a~1b~0c"),
        ("'abc'.matches('^a.c$')", True),
        ("duration('90m') > duration('1h')", True),
    ],
)
def test_values(expression: str, value: Any) -> None:
    assert _value(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("object.nothing == 1", "no such key: nothing"),
        ("object.a + object.s == ''", "no such overload"),
        ("1 / (object.a - 1) == 1", "division by zero"),
        ("quantity('1500m').asInteger() == 1", "cannot convert value to integer"),
        ("ip('::ffff:1.2.3.4').family() == 4", "IPv4-mapped IPv6 address"),
        ("'a'.find('(') == ''", "error parsing regexp"),
        ("semver('1.0').major() == 1", "No Major.Minor.Patch elements found"),
        ("[].min() == 1", "min called on empty list"),
    ],
)
def test_errors(expression: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        _value(expression)
    assert message in str(caught.value)


@pytest.mark.parametrize("expression", ["object.", "nobody", "1 +", "(" * 100 + "1" + ")" * 100])
def test_what_does_not_compile(expression: str) -> None:
    with pytest.raises(CompileError, match="compilation failed"):
        _value(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "['x']" + ".map(a, a + a)" * 30 + ".size() == 1",
        "['x']" + ".map(a, [a, a])" * 30 + ".size() == 1",
        "'x'" + ".replace('x', 'xxxxxxxx')" * 20 + " == ''",
        "'" + "x" * 40_000 + "' == ''",
    ],
)
def test_what_could_fill_the_memory_is_refused(expression: str) -> None:
    with pytest.raises(CompileError):
        _value(expression)


def test_ordinary_expressions_do_not_count_as_growing() -> None:
    assert growth("object.spec.containers.all(c, c.image.startsWith('a+b[c]'))") == 1
    assert growth("object.l.map(x, x.name + ': ' + x.image).join(', ')") == 2


def test_loops_end() -> None:
    many = {"object": {"l": list(range(300))}}
    program = compile_program("object.l.all(a, object.l.all(b, a + b >= 0))", ("object",))
    begun = time.monotonic()
    with pytest.raises(EvaluationError) as caught:
        program.evaluate(many)
    assert caught.value.over_budget
    assert time.monotonic() - begun < 30


def test_constructions_become_maps() -> None:
    made = as_maps(
        "Object{spec: Object.spec{replicas: object.a > 0 ? 2 : 1, m: {'k': \"spec: x\"}}}"
    )
    assert made == '{"spec": {"replicas": object.a > 0 ? 2 : 1, "m": {\'k\': "spec: x"}}}'
    assert _value(made) == {"spec": {"replicas": 2, "m": {"k": "spec: x"}}}
