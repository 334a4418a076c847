"""`secretaria audit`: the list, the proof, and the exit code that a script sees."""

import psycopg


def test_the_log_is_listed_and_proven_and_a_change_by_the_owner_exits_1(run, endpoints):
    run("company", "create", "Clínica Sorriso")
    key = run("api-key", "create", "--company", "1", "--name", "bot", "--json").json
    run("api-key", "revoke", key["id"])
    listed = run("audit", "list", "--company", "1", "--json").json
    assert [line["action"] for line in listed] == ["api_key.revoked", "api_key.created", "company.created"]
    assert key["key"] not in run("audit", "list", "--company", "1").out
    made = run("audit", "list", "--company", "1", "--action", "company.created", "--json").json
    assert [line["line"] for line in made] == [1]
    assert run("audit", "list", "--company", "1", "--since", "2999-01-01", "--json").json == []
    whole = run("audit", "verify", "--json")
    (verdict,) = whole.json
    assert (whole.code, verdict["ok"], verdict["lines"], verdict["head"]) == (0, True, 3, listed[0]["hash"])
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute("UPDATE audit_log SET actor = 'user:9' WHERE sequence = 2")
    broken = run("audit", "verify")
    assert broken.code == 1
    assert "BROKEN: line 2:" in broken.out
    assert "1 of 1 chains are broken" in broken.err
    (verdict,) = run("audit", "verify", "--company", "1", "--json").json
    assert verdict["broken"] == {
        "line": 2, "what": "content", "message": "line 2: its hash does not follow from its content and the line before",
    }  # fmt: skip
