"""Views: what they change, and that everything is as before afterwards."""

from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.engine.protocol import Intervention, Prompt, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import decoder_layers, using
from copsd_bench.errors import CopsdError
from tests.engine import naive

IDS = (3, 14, 15, 92, 65)


def trainable(model: Any) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def test_without_an_adapter_the_logits_are_exactly_the_bases(tiny_engine: TransformersEngine, tiny_llama: Path) -> None:
    base = TransformersEngine(tiny_llama)
    with using(tiny_engine.model, View()):
        assert torch.equal(naive.logits_after(tiny_engine.model, IDS, ()), naive.logits_after(base.model, IDS, ()))


@pytest.mark.parametrize("view", [View(), View(adapter="student"), View(adapter="teacher")], ids=str)
def test_active_adapter_and_trainable_parameters_are_put_back(tiny_engine: TransformersEngine, view: View) -> None:
    model = tiny_engine.model
    model.set_adapter("student")
    # One training state PEFT would not come up with by itself: parts of both adapters, and nothing else.
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_A.student" in name or "lora_B.teacher" in name)
    before = trainable(model)
    assert set(before.values()) == {True, False}
    try:
        with using(model, view):
            pass
        assert trainable(model) == before
        assert model.active_adapters == ["student"]
        with pytest.raises(RuntimeError, match="stop"), using(model, view):
            raise RuntimeError("stop")
        assert trainable(model) == before
        assert model.active_adapters == ["student"]
    finally:
        model.requires_grad_(False)


def test_evaluation_leaves_nothing_trainable(tiny_engine: TransformersEngine) -> None:
    for view in (View(), View(adapter="teacher")):
        tiny_engine.score(view, [Prompt(ids=IDS)], [(1, 2)])
        assert not any(trainable(tiny_engine.model).values())


def test_an_unknown_adapter_names_the_nearest(tiny_engine: TransformersEngine, tiny_llama: Path) -> None:
    with pytest.raises(CopsdError, match="did you mean 'student'"), using(tiny_engine.model, View(adapter="studnet")):
        pass
    with pytest.raises(CopsdError, match="Unknown adapter"):
        TransformersEngine(tiny_llama).score(View(adapter="student"), [Prompt(ids=IDS)], [(1,)])


def block_input(engine: TransformersEngine, view: View, layer: int) -> torch.Tensor:
    return engine.activations(view, [Prompt(ids=IDS)], [layer])[0][0]


def test_activations_have_a_row_a_token_and_equal_hidden_states(tiny_engine: TransformersEngine) -> None:
    prompts = [Prompt(ids=IDS), Prompt(ids=(1,)), Prompt(ids=tuple(range(30)))]
    for view in (View(), View(adapter="teacher")):
        got = tiny_engine.activations(view, prompts, [1, 0])
        for prompt, states in zip(prompts, got, strict=True):
            assert states.shape == (2, len(prompt.ids), 32)
            with using(tiny_engine.model, view), torch.inference_mode():
                output = tiny_engine.model(input_ids=torch.tensor([prompt.ids]), output_hidden_states=True)
            torch.testing.assert_close(states[0], output.hidden_states[1][0])
            torch.testing.assert_close(states[1], output.hidden_states[0][0])


def test_add_moves_the_residual_stream_by_the_scaled_vector(tiny_engine: TransformersEngine) -> None:
    vector = torch.arange(32.0)
    steered = View(intervention=Intervention("add", 1, vector, scale=0.5))
    moved = block_input(tiny_engine, steered, 1) - block_input(tiny_engine, View(), 1)
    torch.testing.assert_close(moved, (0.5 * vector).expand(len(IDS), -1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(block_input(tiny_engine, steered, 0), block_input(tiny_engine, View(), 0))


def test_ablate_removes_the_component_and_nothing_else(tiny_engine: TransformersEngine) -> None:
    vector = torch.linspace(-3, 5, 32)
    unit = vector / vector.norm()
    before = block_input(tiny_engine, View(), 1)
    after = block_input(tiny_engine, View(intervention=Intervention("ablate", 1, vector, scale=7.0)), 1)
    assert (after @ unit).abs().max() < 1e-4
    torch.testing.assert_close(before - after, torch.outer(before @ unit, unit), atol=1e-4, rtol=1e-4)


def test_ablating_everywhere_equals_projecting_the_direction_out_of_all_weights_that_write(
    tiny_engine: TransformersEngine, tiny_llama: Path
) -> None:
    """Weight orthogonalisation (Arditi et al., arXiv 2406.11717): embedding, attention output, MLP output."""
    vector = torch.linspace(-3, 5, 32)
    unit = vector / vector.norm()
    projected = TransformersEngine(tiny_llama)
    with torch.no_grad():
        embedding = projected.model.get_input_embeddings().weight
        embedding.sub_(torch.outer(embedding @ unit, unit))
        for layer in decoder_layers(projected.model):
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                weight.sub_(torch.outer(unit, unit @ weight))
    rows = [Prompt(ids=IDS), Prompt(ids=IDS[:2])], [(7, 8), (9,)]
    everywhere, at_one = (View(intervention=Intervention("ablate", layer, vector)) for layer in (None, 0))
    expected = projected.states(View(), *rows)
    for found, wanted, other in zip(
        tiny_engine.states(everywhere, *rows), expected, tiny_engine.states(at_one, *rows), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(other, wanted, atol=1e-2)


@pytest.mark.parametrize("kind", ["add", "ablate"])
def test_an_intervention_equals_a_hook_written_by_hand(tiny_engine: TransformersEngine, kind: Any) -> None:
    vector = torch.linspace(-1, 2, 32)

    def by_hand(module: Any, args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        unit = vector / vector.norm()
        changed = hidden + 2.0 * vector if kind == "add" else hidden - (hidden * unit).sum(-1, keepdim=True) * unit
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with using(tiny_engine.model, View(adapter="student")):
        handle = decoder_layers(tiny_engine.model)[0].register_forward_hook(by_hand)  # output of 0 is input of 1
        expected = naive.score(tiny_engine.model, IDS, (7, 8))[0]
        handle.remove()
    view = View(adapter="student", intervention=Intervention(kind, 1, vector, scale=2.0))
    scores = tiny_engine.score(view, [Prompt(ids=IDS)], [(7, 8)])[0].logprobs
    assert scores == pytest.approx(expected, abs=1e-4)
    unchanged = tiny_engine.score(View(adapter="student"), [Prompt(ids=IDS)], [(7, 8)])[0].logprobs
    assert unchanged != pytest.approx(expected)


@pytest.mark.parametrize("layer", [2, -1])
def test_a_block_that_is_not_there_is_refused(tiny_engine: TransformersEngine, layer: int) -> None:
    with pytest.raises(CopsdError, match="decoder blocks 0 to 1"):
        tiny_engine.activations(View(), [Prompt(ids=IDS)], [layer])
    steered = View(intervention=Intervention("add", layer, torch.zeros(32)))
    with pytest.raises(CopsdError, match="decoder blocks 0 to 1"):
        tiny_engine.score(steered, [Prompt(ids=IDS)], [(1,)])


def test_a_vector_is_not_added_everywhere(tiny_engine: TransformersEngine) -> None:
    with pytest.raises(CopsdError, match="added at one decoder block"):
        tiny_engine.score(View(intervention=Intervention("add", None, torch.zeros(32))), [Prompt(ids=IDS)], [(1,)])


def test_a_vector_of_another_model_is_refused(tiny_engine: TransformersEngine) -> None:
    steered = View(intervention=Intervention("add", 0, torch.zeros(64)))
    with pytest.raises(CopsdError, match="hidden size 32"):
        tiny_engine.score(steered, [Prompt(ids=IDS)], [(1,)])
