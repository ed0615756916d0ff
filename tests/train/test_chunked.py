"""Losses in chunks: the same values and gradients, with the logits of a few positions in memory."""

import weakref

import pytest
import torch

from copsd_train import losses
from tests.train.tensors import close, gradient


@pytest.mark.parametrize("trained", [False, True], ids=["frozen head", "trained head"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, "symmetric"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunks_change_neither_value_nor_gradient(beta: losses.Beta, chunk: int, trained: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    states, teacher_states = (torch.randn(2, 3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    weights = torch.rand(2, 3, dtype=torch.float64, generator=generator)
    states.requires_grad_(), teacher_states.requires_grad_()
    student_head, teacher_head = (torch.nn.Linear(5, 11, dtype=torch.float64) for _ in range(2))
    student_head.requires_grad_(trained)
    plain = losses.divergence(student_head(states), teacher_head(teacher_states), beta, clip=0.4)
    found = losses.chunked_divergence(states, student_head, teacher_states, teacher_head, beta, chunk, clip=0.4)
    close(found, plain)
    inputs = [states, *(student_head.parameters() if trained else [])]
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs), torch.autograd.grad((plain * weights).sum(), inputs),
        strict=True,
    ):  # fmt: skip
        close(ours, theirs)
    again = losses.chunked_divergence(states, student_head, teacher_states, teacher_head, beta, chunk)
    others = [teacher_states, *teacher_head.parameters(), *([] if trained else student_head.parameters())]
    others = [tensor for tensor in others if tensor.requires_grad]
    assert set(torch.autograd.grad(again.sum(), others, allow_unused=True)) == {None}


def test_any_loss_of_one_position_can_be_chunked_and_under_no_grad_nothing_is_kept() -> None:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(7, 5, dtype=torch.float64, generator=generator).requires_grad_()
    head = torch.nn.Linear(5, 11, dtype=torch.float64).requires_grad_(False)
    ids = torch.arange(7)
    plain, found = losses.token_logprobs(head(states), ids), losses.chunked_logprobs(states, head, ids, chunk=3)
    close(found, plain)
    close(gradient(found, states), gradient(plain, states))
    with torch.no_grad():
        assert not losses.chunked_logprobs(states, head, ids).requires_grad
    assert losses.chunked_logprobs(states[:0], head, ids[:0]).shape == (0,)


def test_a_position_without_weight_gives_no_gradient_even_where_its_own_is_not_finite() -> None:
    states = torch.ones(3, 2, dtype=torch.float64)
    states[2] = torch.nan
    states.requires_grad_()
    head = torch.nn.Linear(2, 4, dtype=torch.float64).requires_grad_(False)
    values = losses.chunked_logprobs(states, head, torch.zeros(3, dtype=torch.long))
    found = gradient(losses.token_mean(values, torch.tensor([True, True, False])), states)
    assert torch.isfinite(found[:2]).all()
    assert (found[2] == 0).all()


@pytest.mark.parametrize("trained", [False, True], ids=["frozen head", "trained head"])
def test_logits_kept_for_backward_do_not_grow_with_the_number_of_tokens(trained: bool) -> None:
    vocabulary, chunk = 997, 8
    head = torch.nn.Linear(4, vocabulary).requires_grad_(trained)
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    counts: list[int] = []

    def keep(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor)
        if tensor.shape[-1:] == (vocabulary,) and tensor.data_ptr() != head.weight.data_ptr():
            alive.add(kept)
            counts.append(sum(other.tensor.shape[0] for other in alive))
        return kept

    def peak(tokens: int, chunked: bool) -> int:
        states, teacher_states = torch.randn(tokens, 4, requires_grad=True), torch.randn(tokens, 4)
        alive.clear()
        counts[:] = [0]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
            if chunked:
                values = losses.chunked_divergence(states, head, teacher_states, head, 0.5, chunk)
            else:
                values = losses.divergence(head(states), head(teacher_states), 0.5)
            values.sum().backward()
        return max(counts)

    assert peak(80, chunked=True) <= peak(16, chunked=True)
    assert peak(80, chunked=False) == 5 * peak(16, chunked=False) > 0


class Kept:
    """A tensor that some graph keeps for backward."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
