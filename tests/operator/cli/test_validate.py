"""`sidewinder validate`: places, exit codes, and the same for machines."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from sidewinder_operator.cli.main import main
from sidewinder_operator.cli.validate import remains, validate
from sidewinder_operator.local.files import Manifests
from sidewinder_operator.problems import Reference

CANARY = Path(__file__).parents[3] / "examples" / "canary"


def test_good_manifests_have_no_problems() -> None:
    assert validate([CANARY]) == []
    result = CliRunner().invoke(main, ["validate", "-f", str(CANARY)])
    assert result.exit_code == 0
    assert "no problems" in result.output


def test_a_mistake_has_file_line_field_and_what_would_be_right(tmp_path: Path) -> None:
    text = (CANARY / "canary.yaml").read_text()
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "weight: 90" in row)
    (tmp_path / "canary.yaml").write_text(text.replace("weight: 90", "weigth: 90"))
    (tmp_path / "services.yaml").write_text((CANARY / "services.yaml").read_text())
    result = CliRunner().invoke(main, ["validate", "-f", str(tmp_path)])
    assert result.exit_code == 1
    assert f"canary.yaml:{line}: ApiRoute bookinfo/reviews: spec.rules[1].backendRefs[0].weigth" in result.output
    assert "weight" in result.output.replace("weigth", "")


def test_json_for_machines(tmp_path: Path) -> None:
    (tmp_path / "canary.yaml").write_text((CANARY / "canary.yaml").read_text())
    result = CliRunner().invoke(main, ["validate", "-f", str(tmp_path), "--output", "json"])
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert {problem["reason"] for problem in problems} == {"NoMatchingParent", "BackendNotFound"}
    assert all(problem["place"]["line"] > 0 and problem["message"] for problem in problems)


def test_what_is_left_of_a_broken_policy_is_told_to_compile(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: closed, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: cart}]
  loadBalancing: {type: Nonsense}
""")
    manifests = Manifests([tmp_path])
    manifests.load()
    (wreck,) = remains(manifests)
    assert wreck.reference == Reference("ApiPolicy", "shop", "closed")
    assert "loadBalancing" in wreck.sections
    assert [(target.kind, target.name) for target in wreck.targets] == [("Service", "cart")]


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["validate", "-f", str(tmp_path / "gone.yaml")])
    assert result.exit_code == 1
    assert "gone.yaml" in result.output
