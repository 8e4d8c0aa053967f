"""Where a consumer's program is installed: this environment, one of its own, or Node's."""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CONSUMERS = Path(__file__).parent / "consumers"


class InstallError(Exception):
    """A peer could not be installed; the benchmark goes on without it and says so."""


@dataclass(frozen=True)
class Here:
    """The environment that runs the benchmark."""

    packages: tuple[str, ...]

    def install(self) -> None:
        """Nothing to do: the project's own dependencies are here."""

    def program(self, name: str) -> str:
        return str(Path(sys.executable).with_name(name))

    def versions(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in self.packages}


@dataclass(frozen=True)
class Venv:
    """A virtual environment of a peer's own, kept between runs."""

    packages: tuple[str, ...]

    @property
    def _folder(self) -> Path:
        return CONSUMERS / ".venv" / self.packages[0].partition("[")[0]

    def install(self) -> None:
        marker = self._folder / "installed"
        wanted = "\n".join(self.packages)
        if marker.exists() and marker.read_text() == wanted:
            return
        _run([sys.executable, "-m", "venv", "--clear", str(self._folder)])
        _run([self.program("python"), "-m", "pip", "install", "--quiet", *self.packages])
        marker.write_text(wanted)

    def program(self, name: str) -> str:
        return str(self._folder / "bin" / name)

    def versions(self) -> dict[str, str]:
        names = [package.partition("[")[0] for package in self.packages]
        found: dict[str, str] = json.loads(
            _run([self.program("python"), "-c", _VERSIONS.format(names=names)])
        )
        return found


@dataclass(frozen=True)
class Node:
    """A folder with a package.json, whose dependencies include Node itself."""

    folder: Path

    def install(self) -> None:
        if not (self.folder / "node_modules" / ".bin" / "node").exists():
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--silent"]
            _run(["npm", "install", "--prefix", str(self.folder), *options])

    def program(self, name: str) -> str:
        return str(self.folder / "node_modules" / ".bin" / name)

    def versions(self) -> dict[str, str]:
        names = json.loads((self.folder / "package.json").read_text())["dependencies"]
        return {name: self._version(name) for name in names}

    def _version(self, name: str) -> str:
        package = json.loads((self.folder / "node_modules" / name / "package.json").read_text())
        return str(package["version"])


Environment = Here | Venv | Node

_VERSIONS = """
import json
from importlib import metadata
print(json.dumps({{name: metadata.version(name) for name in {names}}}))
"""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except FileNotFoundError as error:
        raise InstallError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{' '.join(command[:4])} took longer than 10 minutes") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or error.stdout).strip().splitlines() or ["no reason given"]
        raise InstallError(f"{' '.join(command[:4])} failed: {reason[-1]}") from error
    return done.stdout
