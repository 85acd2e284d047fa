import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Compute in one thread: on a busy machine more would wait for each other."""
    torch.set_num_threads(1)
