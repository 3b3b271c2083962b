"""What is kept on disk: used when it holds together, told when not, replaced as a whole or not at all."""

import datetime as dt
import os
import threading

import pytest

from sidewinder_sidecar.identity.files import Files, read
from sidewinder_sidecar.identity.leaf import Unfit
from tests.support.authority import POD, SPIFFE_ID, Place, issued, now, trust


@pytest.fixture(scope="module")
def ours():
    return trust()


@pytest.fixture
def place(tmp_path, ours):
    made = Place(tmp_path)
    made.mount(ours)
    return made


def files(place, **more):
    return Files(place.settings(**more))


def names(folder):
    return sorted(os.listdir(folder))


def test_what_was_kept_is_used_again(place, ours):
    assert files(place).empty
    place.keep(ours)
    held = files(place).load()
    assert not files(place).empty
    assert (held.leaf.spiffe_id, held.standing) == (SPIFFE_ID, "current")
    assert len(held.roots) == 1
    assert abs(held.since - now().timestamp()) < 60
    assert held.context.get_ca_certs()


def test_another_root_signs_now(place, ours):
    place.keep(ours)
    place.mount(trust(), ours)
    assert files(place).load().standing == "old"


def test_the_root_that_signed_is_not_mounted_any_more(place, ours):
    place.keep(ours)
    following = trust()
    place.mount(following)
    held = files(place).load()
    assert held.standing == "foreign"
    assert [root.sha256 for root in held.roots] == [
        following.signing.certificate.fingerprint(following.signing.certificate.signature_hash_algorithm).hex()
    ]


@pytest.mark.parametrize("broken", [None, b"", b"nonsense", b"\xff\xfe"])
def test_without_mounted_roots_those_that_came_along_are_used(place, ours, broken, caplog):
    place.keep(ours)
    place.bundle.unlink()
    if broken is not None:
        place.bundle.write_bytes(broken)
    assert files(place).load().standing == "current"
    assert f"SIDEWINDER_BUNDLE={place.bundle}" in caplog.text


@pytest.mark.parametrize("name", ["key.pem", "certificate.pem", "bundle.pem"])
@pytest.mark.parametrize("damage", ["gone", "half", "empty", "zeroes", "huge"])
def test_damage_is_told(place, ours, name, damage):
    place.keep(ours)
    file = place.identity / name
    whole = file.read_bytes()
    content = {"half": whole[: len(whole) // 2], "empty": b"", "zeroes": b"\0" * len(whole), "huge": b"\n" * (2 << 20)}
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[damage])
    if (name, damage) == ("bundle.pem", "gone") or name != "bundle.pem":
        with pytest.raises(Unfit, match=str(place.identity)):
            files(place).load()
    elif damage == "huge":
        with pytest.raises(Unfit, match="larger than 1 MB"):
            files(place).load()
    else:  # the mounted roots are the better ones anyway
        assert files(place).load().standing == "current"


def test_a_key_and_a_certificate_of_two_enrolments(place, ours):
    """As a crash between two renames leaves them."""
    place.keep(ours)
    (place.identity / "key.pem").write_text(issued(ours)[0])
    with pytest.raises(Unfit, match=r"key\.pem is not its key"):
        files(place).load()


def test_the_certificate_of_another_pod(place, ours):
    place.keep(ours)
    with pytest.raises(Unfit, match=f"the certificate of pod {POD.name}, not of other"):
        files(place, pod_uid="other").load()
    with pytest.raises(Unfit, match="not of a pod in namespace sho"):
        files(place, pod_namespace="sho").load()
    assert files(place, pod_uid="", pod_namespace="").load().leaf.subject == POD.name


def test_a_certificate_without_the_pods_name_is_its_own(place, ours):
    place.keep(ours, who=POD._replace(name=""))
    assert files(place).load().leaf.subject == ""


def test_a_new_one_takes_the_old_ones_place(place, ours):
    place.keep(ours)
    before = files(place).load()
    key, certificate = issued(ours)
    leaf = files(place).replace(key, certificate, ours.pem().decode())
    assert leaf != before.leaf
    assert files(place).load().leaf == leaf
    assert names(place.identity) == ["bundle.pem", "certificate.pem", "key.pem"]
    assert not place.identity.with_name("identity.new").exists()
    assert {os.stat(place.identity / name).st_mode & 0o777 for name in names(place.identity)} == {0o600}


def test_the_folder_is_made_for_its_owner_alone(place, ours):
    files(place).replace(*issued(ours), ours.pem().decode())
    assert place.identity.stat().st_mode & 0o777 == 0o700


def test_what_does_not_hold_together_replaces_nothing(place, ours):
    place.keep(ours)
    before = {name: (place.identity / name).read_bytes() for name in names(place.identity)}
    (key, certificate), (other, _) = issued(ours), issued(ours)
    bundle = ours.pem().decode()
    for wrong in (
        (other, certificate, bundle),
        (key, certificate, trust().pem().decode()),
        (key, "", bundle),
        (key, certificate, ""),
        (*issued(ours, who=POD._replace(namespace="bank")), bundle),
        (*issued(ours, who=POD._replace(name="another-pod")), bundle),
    ):
        with pytest.raises(Unfit):
            files(place).replace(*wrong)
        assert {name: (place.identity / name).read_bytes() for name in names(place.identity)} == before
        assert not place.identity.with_name("identity.new").exists()


def test_a_folder_that_cannot_be_made(place, ours):
    place.identity.write_text("a file is in the way")
    with pytest.raises(Unfit, match="cannot be written: File exists"):
        files(place).replace(*issued(ours), ours.pem().decode())


def test_two_at_once_do_not_mix(place, ours):
    bundle = ours.pem().decode()
    faults = []

    def work():
        for _ in range(5):
            try:
                files(place).replace(*issued(ours), bundle)
            except Unfit as fault:  # the other one had the folder
                faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert faults == []
    assert files(place).load().standing == "current"


def test_a_file_is_read_up_to_a_bound(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(Unfit, match="larger than 1 MB"):
        read(str(tmp_path / "x"))
    with pytest.raises(Unfit, match="Is a directory"):
        read(str(tmp_path))


def test_since_when_it_is_there_is_within_its_life(place, ours):
    """A restored file, or a clock that was set: what is computed from it must not be absurd."""
    place.keep(ours, begins=now() - dt.timedelta(days=9))
    held = files(place).load()
    assert held.since == held.leaf.not_after
    os.utime(place.identity / "certificate.pem", (0, 0))
    assert files(place).load().since == held.leaf.not_before
