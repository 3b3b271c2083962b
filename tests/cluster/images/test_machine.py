"""What a build is told of the machine's configuration, from what pip and apt print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.images import machine


def test_the_environment_overrules_files_and_local_folders_stay_out() -> None:
    listing = "\n".join(
        [
            ":env:.find-links='/somewhere'",
            ":env:.index-url='https://mirror.test/simple'",
            ":env:.default-timeout='180'",
            "global.index-url='https://other.test/simple'",
            "install.trusted-host='a.test\\nb.test'",
        ]
    )
    assert machine.pip_settings(listing).splitlines() == [
        "[global]",
        "cert = /run/secrets/ca.crt",
        "index-url = https://mirror.test/simple",
        "trusted-host = a.test",
        "  b.test",
        "default-timeout = 180",
    ]


def test_apt_gets_proxies_and_checks_but_nothing_of_the_machine() -> None:
    dump = "\n".join(
        [
            'Acquire "";',
            'Acquire::http::Proxy "http://proxy.test:3142";',
            'Acquire::https "";',
            'Acquire::Check-Valid-Until "false";',
            'Acquire::cdrom::mount "/media/cdrom/";',
            'Dir::State "var/lib/apt";',
        ]
    )
    assert machine.apt_settings(dump).splitlines() == [
        'Acquire::http::Proxy "http://proxy.test:3142";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::https::CAInfo "/run/secrets/ca.crt";',
    ]


def test_the_mirrors_are_the_machines_own_with_another_suite() -> None:
    targets = "\n".join(
        f"{address}\t{origin}\t{label}"
        for address, origin, label in [
            ("http://m.test/debian/", "Debian", "Debian"),
            ("http://m.test/updates/", "Debian", "Debian"),
            ("http://m.test/security/", "Debian", "Debian-Security"),
            ("http://m.test/tools/", "Vendor", "Tools"),
        ]
    )
    assert machine.debian_sources(targets, "trixie") == [
        "deb http://m.test/debian/ trixie main",
        "deb http://m.test/security/ trixie-security main",
    ]


@pytest.mark.parametrize("targets", ["", "http://m.test/ubuntu/\tUbuntu\tUbuntu"])
def test_elsewhere_mmdebstrap_decides(targets: str) -> None:
    assert machine.debian_sources(targets, "trixie") == []


def test_the_trust_store_is_the_one_the_environment_names(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    assert machine.trust_store({"SSL_CERT_FILE": str(bundle)}) == bundle


def test_no_trust_store_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "TRUST_FILES", ("/nowhere/ca.crt",))
    with pytest.raises(FileNotFoundError, match="SSL_CERT_FILE"):
        machine.trust_store({})


def test_secrets_are_gone_with_the_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    monkeypatch.setattr(machine, "trust_store", lambda: bundle)
    with machine.secrets() as words:
        files = {word.split(",src=")[0]: Path(word.split(",src=")[1]) for word in words[1::2]}
        assert words[::2] == ["--secret"] * 3
        assert set(files) == {"id=apt.conf", "id=ca.crt", "id=pip.conf"}
        assert files["id=ca.crt"].read_text() == "certificates"
        assert files["id=pip.conf"].read_text().startswith("[global]\n")
    assert not any(path.exists() for path in files.values())
