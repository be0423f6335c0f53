"""`python -m modelyard_trainer.script FAILURE_FILE SCRIPT | --module NAME`: run it; say what went wrong in one line."""

import json
import runpy
import sys
import traceback
from pathlib import Path

from modelyard.contract.wire import ExitCode
from modelyard.model.signing import SignatureProblem
from modelyard.model.sources import PublishError
from modelyard.training.errors import ConfigurationError, DivergedError, raised_within

__all__ = ["describe", "main"]

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
        code = ExitCode.CONFIGURATION if isinstance(error, _MISTAKES) else ExitCode.FAILED
        failure_path.write_text(json.dumps({"code": int(code), "message": describe(error, target)}))
        return code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
