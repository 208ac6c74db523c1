import json
from dataclasses import dataclass

from dfkd.settings.identity import settings_key, to_dict


@dataclass(frozen=True, kw_only=True)
class Inner:
    betas: tuple[float, ...] = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    ranges: dict[str, Inner]
    name: str | None = None


def test_to_dict_gives_what_json_gives_back_unchanged() -> None:
    plain = to_dict(Outer(ranges={"a.b": Inner()}))
    assert plain == {"inner": {"betas": [0.5, 0.999]}, "ranges": {"a.b": {"betas": [0.5, 0.999]}}, "name": None}
    assert json.loads(json.dumps(plain)) == plain


def test_the_key_is_the_same_on_every_machine() -> None:
    # SHA-256 of {"inner":{"betas":[0.5,0.999]},"name":"\u00e9","ranges":{}}, worked out with sha256sum
    assert settings_key(Outer(ranges={}, name="é")) == "fc3a9ffae131fdf9"


def test_the_key_changes_with_any_value_but_not_with_the_order_of_keys() -> None:
    one = Outer(ranges={"a": Inner(), "b": Inner(betas=(0.1,))})
    assert settings_key(one) == settings_key(Outer(ranges={"b": Inner(betas=(0.1,)), "a": Inner()}))
    assert settings_key(one) == settings_key(to_dict(one))
    assert settings_key(one) != settings_key(Outer(ranges={"a": Inner(), "b": Inner(betas=(0.2,))}))
