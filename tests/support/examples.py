"""How many random examples a test takes, by the profile of hypothesis (tests/conftest.py)."""

from hypothesis import settings


def examples(in_ci: int) -> int:
    """Return a number for `settings(max_examples=...)`: `in_ci` in CI, half of it for whoever works on the project, many in long runs."""
    return max(1, in_ci * settings().max_examples // settings.get_profile("ci").max_examples)
