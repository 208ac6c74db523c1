from dfkd.cluster.interface import interface_of


def test_an_interface_is_found_by_its_address() -> None:
    assert interface_of("127.0.0.1") == "lo" or interface_of("127.0.0.1") == "lo0"


def test_an_address_of_nobody_has_none() -> None:
    assert interface_of("203.0.113.1") is None
