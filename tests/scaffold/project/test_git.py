"""A first commit, and which files `.gitignore` covers: decided as git decides."""

import subprocess

from loafer_kit.scaffold.project import git
from loafer_kit.scaffold.project.git import covered

FILES = {
    ".gitignore": b"\xef\xbb\xbf*.key\r\n# comment\r\n/.env\n!keep.key\nsecrets/\na\\\n[\nlogs/*\n!logs/x\n",
    "sub/.gitignore": b"!b.key\n/own\n",
    "secrets/.gitignore": b"!*\n",
    "logs/.gitignore": b"y\n",
}
PATHS = [
    ".env", "sub/.env", "a.key", "keep.key", "sub/a.key", "sub/b.key", "sub/own", "sub/deep/own",
    "secrets/a", "secrets/deep/a", "sub/secrets/a", "secret", "logs/x", "logs/y", "logs/z", "README",
]  # fmt: skip


def test_the_same_files_as_git_s(tmp_path):
    """Deeper files win, negations too, but not in a folder that is excluded as a whole."""
    write(tmp_path, FILES)
    write(tmp_path, dict.fromkeys(PATHS, b""))
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    asked = ["git", "-C", tmp_path, "check-ignore", "--no-index", *PATHS]
    told = subprocess.run(asked, check=False, capture_output=True, text=True).stdout

    assert covered(PATHS, tmp_path, {}) == set(told.split())
    assert "sub/a.key" in told


def test_a_plan_s_own_file_counts_as_well(tmp_path):
    """A new project has none on disk yet."""
    assert covered(PATHS, tmp_path / "new", FILES) == covered(PATHS, tmp_path, FILES)
    write(tmp_path, {".gitignore": b"README\n"})

    assert covered(["README", ".env", "x"], tmp_path, FILES) == {"README", ".env"}


def test_without_any_nothing_is_covered(tmp_path):
    """Nor with one that covers nothing."""
    assert covered(PATHS, tmp_path, {}) == set()
    assert covered(PATHS, tmp_path, {".gitignore": b"\n"}) == set()


def test_none_is_read_through_a_symbolic_link(tmp_path):
    """As git does not."""
    (tmp_path / "elsewhere").write_text("a")
    (tmp_path / ".gitignore").symlink_to(tmp_path / "elsewhere")

    assert covered(["a"], tmp_path, {}) == set()


def test_a_project_of_many_files_is_committed(tmp_path, monkeypatch):
    """However long their paths are together: they stand on no command line."""
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "A")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@example.org")
    folder = "/".join(["x" * 250] * 14)
    paths = [f"{folder}/{number}" for number in range(640)]
    write(tmp_path, dict.fromkeys(paths, b""))

    assert git.begin(tmp_path, paths, "Begin")

    assert set(git.run("-C", str(tmp_path), "ls-files").decode().splitlines()) == set(paths)
    assert git.run("-C", str(tmp_path), "status", "--porcelain") == b""
    assert git.has_commit(tmp_path)


def write(folder, files):
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
