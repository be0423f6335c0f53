"""`python -m modelyard_trainer.script FAILURE_FILE SCRIPT | --module NAME`: run it; say what went wrong in one line."""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path

from modelyard.contract.wire import Environment, ExitCode
from modelyard.model.signing import SignatureProblem
from modelyard.model.sources import PublishError
from modelyard.model.storage import Changed, Unreachable
from modelyard.training.errors import ConfigurationError, DivergedError, raised_within

__all__ = ["code_of", "describe", "main"]

#: What another attempt may find mended, though nobody changes the training.
_PASSING = (Unreachable, Changed)
#: What no repeat mends.
_MISTAKES = (
    ConfigurationError,
    DivergedError,
    PublishError,
    SignatureProblem,
    ImportError,
    SyntaxError,
    NameError,
    FileNotFoundError,
)


#: What TensorFlow raises in a process whose peer is gone.
_LOST = frozenset({"UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError"})


def code_of(error: BaseException, *, is_distributed: bool) -> ExitCode:
    """Return the exit code for what a script raised: a lost peer or store is no failure of this process."""
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("tensorflow.")}
    if (is_distributed and kinds & _LOST) or isinstance(error, _PASSING):
        return ExitCode.INTERRUPTED
    return ExitCode.CONFIGURATION if isinstance(error, _MISTAKES) else ExitCode.FAILED


def describe(error: BaseException, script: str) -> str:
    """Return the exception's last line with the file and line of the script where it came from."""
    last = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == Path(script).name]
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{last} ({Path(error.filename or script).name}, line {error.lineno})"
    where = (own or frames)[-1:]
    return f"{last} ({Path(where[0].filename).name}, line {where[0].lineno})" if where else last


def main(arguments: list[str]) -> int:
    """Run a script or module as a program."""
    failure_path, target = Path(arguments[0]), arguments[-1]
    sys.argv = [target]
    try:
        if "--module" in arguments:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(target).parent))
            runpy.run_path(target, run_name="__main__")
    except Exception as raised:
        traceback.print_exc()
        error = raised_within(raised)
        code = code_of(error, is_distributed=Environment.TF_CONFIG in os.environ)
        lost = "another task was lost: " if code == ExitCode.INTERRUPTED and not isinstance(error, _PASSING) else ""
        failure_path.write_text(json.dumps({"code": int(code), "message": lost + describe(error, target)}))
        return code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
