# SPDX-License-Identifier: Apache-2.0
"""The verbs `rehearse`, `canister` and `rescue`: an upgrade tried on a snapshot, a canister in a folder, images of another crate."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .inspect.cli.guard import guarded, input_path, output_path
from .inspect.cli.text import clean

Run = Callable[[argparse.Namespace], int]


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the command line."""
    _add_rehearse(verbs)
    _add_rescue(verbs)
    parser = verbs.add_parser(
        "canister",
        help="a canister in a folder: deploy, call, query, stop, start, upgrade, status, logs, serve",
        description="Run a canister that is stored in a folder. The folder is a snapshot as dfx downloads it.",
        epilog="example:\n  stable-structures canister deploy counter.wasm DIR\n  stable-structures canister call DIR inc '()'\n\n"
        "exit code: 0 done, 1 the canister refused or trapped, 2 wrong use or unreadable",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    _add_deploy(actions)
    for name, text in (("call", "call a method and keep its changes"), ("query", "call a query and discard its changes")):
        action = _action(actions, name, text, _call)
        action.add_argument("method", help="the name of the method")
        action.add_argument("arguments", nargs="?", default="()", help='as Candid text, such as (1, "x") (default: none)')
        action.add_argument("--caller", metavar="PRINCIPAL", help="the caller (default: the anonymous principal)")
        action.add_argument("--did", type=Path, metavar="FILE", help="the Candid interface, if the module does not contain it")
    for name, text in (("stop", "stop accepting calls"), ("start", "accept calls again")):
        _action(actions, name, text, _set_status)
    _add_upgrade(actions)
    _action(actions, "status", "show the state of the canister", _status).add_argument("--json", action="store_true", help="print JSON")
    _action(actions, "logs", "show what the canister printed, and its traps", _logs)
    _add_serve(actions)


def _say(text: object) -> None:
    """Print the lines of a result. Whatever a canister said or is called in them, a terminal obeys none of it."""
    sys.stdout.write(f"{_clean_lines(text)}\n")


def _clean_lines(text: object) -> str:
    return "\n".join(map(clean, str(text).split("\n")))


def _action(actions: Any, name: str, text: str, run: Run, folder: str = "folder") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if folder:
        parser.add_argument("folder", type=Path, help="the folder of the canister")
    parser.set_defaults(run=_guarded(run))
    return parser


def _add_deploy(actions: Any) -> None:
    parser = _action(actions, "deploy", "install a module into a new folder", _deploy, folder="")
    parser.add_argument("module", type=Path, help="a .wasm, .wasm.gz or .py file")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--arg", metavar="CANDID", help="the argument of init, as Candid text")
    parser.add_argument("--did", type=Path, metavar="FILE", help="the Candid interface, if the module does not contain it")


def _add_serve(actions: Any) -> None:
    parser = _action(
        actions, "serve", "show the canister on a page in your browser: call its methods, upgrade it, watch its memory", _serve
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="the port of 127.0.0.1 (default: any free one)")
    parser.add_argument("--did", type=Path, metavar="FILE", help="the Candid interface, if the module does not contain it")
    parser.add_argument("--open", action="store_true", help="open the page in your browser")


def _serve(arguments: argparse.Namespace) -> int:
    from .serve.server import serve  # noqa: PLC0415 - as above

    def say(text: str) -> None:
        _say(text)
        sys.stdout.flush()

    serve(arguments.folder, say, port=arguments.port, did=arguments.did, browse=arguments.open)
    return 0


def _add_upgrade(actions: Any) -> None:
    parser = _action(actions, "upgrade", "install new code; stable memory stays", _upgrade)
    parser.add_argument("module", type=Path, help="the new .wasm, .wasm.gz or .py file")
    _add_upgrade_options(parser)


def _add_upgrade_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arg", metavar="CANDID", help="the argument of post_upgrade, as Candid text")
    parser.add_argument("--did", type=Path, metavar="FILE", help="the Candid interface, if the module does not contain it")
    parser.add_argument("--skip-pre-upgrade", action="store_true", help="do not run the hook of the old code")
    parser.add_argument(
        "--wasm-memory-persistence",
        choices=("keep", "replace"),
        default="auto",
        help="what happens to the heap under Motoko's enhanced persistence",
    )


def _add_rehearse(verbs: Any) -> None:
    parser = verbs.add_parser(
        "rehearse",
        help="try an upgrade on a snapshot of the real canister",
        description="Run an upgrade on the heap and stable memory of a snapshot, without changing it, and report what happens.",
        epilog="example:\n  stable-structures rehearse SNAPSHOT new.wasm --call 'balance(\"ada\")'\n\n"
        "exit code: 0 the upgrade succeeds and the result is sound, 1 it does not, 2 wrong use or unreadable",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("snapshot", help="the folder that dfx, icp or juno downloaded")
    parser.add_argument("module", type=Path, help="the new .wasm or .wasm.gz")
    _add_upgrade_options(parser)
    parser.add_argument(
        "--call", action="append", default=[], metavar="CALL", help="""a call to make afterwards, such as 'balance("ada")'"""
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the result as a snapshot in this new folder")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_guarded(_rehearse))


def _add_rescue(verbs: Any) -> None:
    summary = "Check an image of the other crate, ic-stable-memory, and migrate it into structures of this one."
    parser = verbs.add_parser(
        "rescue",
        help=summary,
        description=f"{summary} Exit code 0: sound, 1: damaged or something was lost, 2: refused, unreadable, wrong use.",
        epilog="example:\n  stable-structures rescue stable_memory.bin --schema ism.toml -o new.bin",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = "an image, a gzip of one, or the folder of a snapshot; it is never changed; - is the standard input"
    parser.add_argument("file", metavar="FILE", type=input_path, help=text)
    parser.add_argument("--schema", required=True, metavar="TOML", help="the pointer width and the types by key")
    text = "the image to write; without it, FILE is only checked; - is the standard output"
    parser.add_argument("-o", "--out", metavar="OUT", type=output_path, help=text)
    parser.add_argument("--force", action="store_true", help="migrate what can be read although the ownership check fails")
    parser.add_argument("--bucket-pages", type=int, metavar="N", help="pages of a bucket of the new image (default: 128)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=lambda arguments: guarded(_rescue, arguments))


def _rescue(arguments: argparse.Namespace) -> int:
    from .rescue.command import rescue  # noqa: PLC0415 - as above

    return rescue(arguments)


def _guarded(run: Run) -> Run:
    """Turn errors into one line and an exit code: 1 for what the canister refused, 2 for wrong arguments.

    A closed pipe, signals and an output that is full end these verbs as they end all others.
    """

    def refused(arguments: argparse.Namespace) -> int:
        from .canister import Rejected, SourceError, Unsupported  # noqa: PLC0415 - the command line starts quickly without

        try:
            return run(arguments)
        except Rejected as error:
            sys.stderr.write(f"{_clean_lines(error)}\n")
            return 1
        except BrokenPipeError:
            raise
        except (SourceError, Unsupported, OSError, TypeError, OverflowError) as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None
            sys.stderr.write(f"the output cannot be written: {error.strerror}\n" if full else f"{_clean_lines(error)}\n")  # type: ignore[union-attr]
            return 2

    return lambda arguments: guarded(refused, arguments)


def _argument(text: str | None, module: Path, did: Path | None) -> Any:
    """Return the argument of install or upgrade, given as Candid text: values of the types of the module's interface."""
    if text is None:
        return None
    from .encodings.candid.text import fit_all, parse_values  # noqa: PLC0415 - as above

    values = parse_values(text)
    if module.suffix == ".py":
        return tuple(values)
    from .canister.wasm.program import read_code  # noqa: PLC0415 - as above

    interface = read_code(module.read_bytes(), did, module).interface()
    return tuple(values if interface is None else fit_all(values, interface.init))


def _rehearse(arguments: argparse.Namespace) -> int:
    from .rehearsal import rehearse  # noqa: PLC0415 - as above

    found = rehearse(
        arguments.snapshot,
        arguments.module,
        _argument(arguments.arg, arguments.module, arguments.did),
        calls=arguments.call,
        skip_pre_upgrade=arguments.skip_pre_upgrade,
        wasm_memory_persistence=arguments.wasm_memory_persistence,
        did=arguments.did,
        save=arguments.output,
    )
    _say(json.dumps(found.to_dict(), indent=2) if arguments.json else found)
    return 0 if found.ok else 1


def _deploy(arguments: argparse.Namespace) -> int:
    from .deployment import Deployment  # noqa: PLC0415 - as above

    argument = _argument(arguments.arg, arguments.module, arguments.did)
    canister = Deployment(arguments.folder).deploy(arguments.module, argument, did=arguments.did)
    _say(canister.id)
    return 0


def _call(arguments: argparse.Namespace) -> int:
    from .deployment import Deployment  # noqa: PLC0415 - as above
    from .encodings.candid.text import parse_values  # noqa: PLC0415 - as above
    from .rehearsal import call_text  # noqa: PLC0415 - as above

    query = arguments.action == "query"
    values = parse_values(arguments.arguments)
    deployment = Deployment(arguments.folder, did=arguments.did)
    with deployment.read() if query else deployment.write() as canister:
        answer = call_text(canister, arguments.method, values, query=query, caller=arguments.caller)
    _say(answer)  # when it is saved
    return 0


def _set_status(arguments: argparse.Namespace) -> int:
    from .deployment import Deployment  # noqa: PLC0415 - as above

    with Deployment(arguments.folder).write() as canister:
        (canister.stop if arguments.action == "stop" else canister.start)()
        status = canister.status
    _say(status)
    return 0


def _upgrade(arguments: argparse.Namespace) -> int:
    from .deployment import Deployment, as_source  # noqa: PLC0415 - as above

    argument = _argument(arguments.arg, arguments.module, arguments.did)
    with Deployment(arguments.folder).write() as canister:
        canister.upgrade(
            as_source(arguments.module),
            argument,
            skip_pre_upgrade=arguments.skip_pre_upgrade,
            did=arguments.did,
            wasm_memory_persistence=arguments.wasm_memory_persistence,
        )
        version = canister.version
    _say(f"upgraded to version {version}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from .deployment import Deployment  # noqa: PLC0415 - as above

    with Deployment(arguments.folder).read() as canister:
        facts: dict[str, Any] = {
            "id": str(canister.id),
            "status": canister.status,
            "version": canister.version,
            "module hash": None if canister.module_hash is None else canister.module_hash.hex(),
            "stable memory pages": canister.memory.size(),
            "heap bytes": canister.heap_size if canister.module_hash is not None else None,
            "cycles": canister.cycles,
            "methods": sorted(canister.program.methods) if canister.program is not None else [],
        }
    if arguments.json:
        _say(json.dumps(facts, indent=2))
        return 0
    for name, value in facts.items():
        if value is not None:
            _say(clean(f"{name + ':':22}{', '.join(value) if isinstance(value, list) else value}"))  # one line, whatever a method is called
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    from .deployment import Deployment  # noqa: PLC0415 - as above

    with Deployment(arguments.folder).read() as canister:
        for line in canister.logs:
            _say(line.encode("unicode_escape").decode() if not line.isprintable() else line)
    return 0
