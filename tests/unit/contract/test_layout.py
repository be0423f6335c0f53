"""Paths under an output URI."""

from modelyard.contract import layout


def test_join_puts_exactly_one_slash_between_parts():
    assert layout.join("s3://bucket/models/", "/runs/a", "published") == "s3://bucket/models/runs/a/published"


def test_every_path_of_a_run_lies_in_its_own_folder():
    paths = [
        layout.state_prefix("r", 5, "a"),
        layout.state_marker("r", 5),
        layout.curves_file("r"),
        layout.attempt_prefix("r", 5, "a"),
        layout.published_marker("r", 5),
    ]
    assert all(path.startswith("runs/r/") for path in paths)
    assert len(set(paths)) == len(paths)


def test_two_attempts_never_share_a_prefix():
    assert layout.attempt_prefix("r", 5, "a") != layout.attempt_prefix("r", 5, "b")
