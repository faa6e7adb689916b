"""What the system says of memory."""

import sys

import pytest
import torch

from torchsep.engine.separate import memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_plausible_amount():
    available = memory.available_memory(torch.device("cpu"))
    assert 2**20 < available < 2**50


def test_devices_that_do_not_say():
    assert memory.available_memory(torch.device("meta")) is None


def test_the_least_of_what_is_known(monkeypatch):
    monkeypatch.setattr(memory, "_of_control_groups", lambda: [500, 300])
    monkeypatch.setattr(memory, "_of_system", lambda: 400)
    assert memory.available_memory(torch.device("cpu")) == 300
    monkeypatch.setattr(memory, "_of_control_groups", list)
    assert memory.available_memory(torch.device("cpu")) == 400
    monkeypatch.setattr(memory, "_of_system", lambda: None)
    assert memory.available_memory(torch.device("cpu")) is None


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_groups_of_the_second_version(tmp_path):
    write(tmp_path, cgroup="0::/user/job")
    write(tmp_path / "mount/user", memory__max=1000, memory__current=600, memory__stat="anon 5\ninactive_file 250")
    write(tmp_path / "mount/user/job", memory__max="max", memory__current=600)
    assert memory._of_control_groups(tmp_path / "mount", tmp_path / "cgroup") == [650]
    write(tmp_path / "mount/user/job", memory__max=800)
    assert memory._of_control_groups(tmp_path / "mount", tmp_path / "cgroup") == [200, 650]


def test_groups_of_the_first_version(tmp_path):
    write(tmp_path, cgroup="4:memory:/job\n3:cpu,cpuacct:/job")
    job = tmp_path / "mount/memory/job"
    write(job, memory__limit_in_bytes=1000, memory__usage_in_bytes=900)
    assert memory._of_control_groups(tmp_path / "mount", tmp_path / "cgroup") == [100]
    write(job, memory__limit_in_bytes=2**63 - 4096)
    assert memory._of_control_groups(tmp_path / "mount", tmp_path / "cgroup") == []


def test_a_system_without_groups(tmp_path):
    assert memory._of_control_groups(tmp_path / "mount", tmp_path / "cgroup") == []


@pytest.mark.gpu
def test_memory_of_an_accelerator():
    assert memory.available_memory(torch.device("cuda", 0)) > 2**20
