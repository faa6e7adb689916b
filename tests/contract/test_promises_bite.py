"""Mutation tests of the contract: each planted defect violates its promises, and correct separators pass all."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest
from contract import controls, defects
from contract import module_defects as modules
from contract.case import Case, registered
from contract.cases import SMALL
from contract.promises import PARAMETERS, PROMISES, run
from torch._dynamo.exc import Unsupported
from torch.autograd.gradcheck import GradcheckError

from torchsep import Separator

TRAINABLE = {"sample_rate": 8000, "trainable": ("power",)}
PLAIN = {"sample_rate": 8000}
BINARY = {**SMALL, "mask_type": "binary"}

CONTROLS = {
    "plain": (controls.Control, PLAIN),
    "trainable": (controls.Control, TRAINABLE),
    "soft": (controls.MaskControl, SMALL),
    "binary": (controls.MaskControl, BINARY),
    "oracle": (controls.OracleControl, PLAIN),
}


class Failure(NamedTuple):
    """The exception that a violated promise raises, and a pattern of its message."""

    message: str
    kind: type[BaseException] = AssertionError


class Defect(NamedTuple):
    """A defective separator, its arguments, and the promises that it violates, with their failures."""

    kind: type[Separator]
    arguments: Mapping[str, object]
    failures: Mapping[str, Failure]


def violates(kind, arguments=PLAIN, /, **messages: str | Failure) -> Defect:
    """A defect; a message alone is the message of an assertion."""
    return Defect(
        kind, arguments, {name: Failure(text) if isinstance(text, str) else text for name, text in messages.items()}
    )


def accepted(what: str) -> Failure:
    """A promise fails because a separator accepts an input."""
    return Failure(f"{what} must be refused", pytest.fail.Exception)


ISOLATED = "finite items beside a non-finite item"
NOT_FINITE = "gradient of mixture must be finite"
UNSTORED = Failure("RenamedArgument must store its arguments under their names: exponent", TypeError)
NOT_JSON = Failure("dtype is not JSON serializable", TypeError)

DEFECTS = [
    violates(defects.LosesTail, shapes=Failure(r"must return \(B, S, C, T\) with B=1 and T=1", ValueError)),
    violates(defects.MirrorsEnds, shapes=Failure("Padding size should be less than", RuntimeError)),
    violates(defects.ReadsChannelsAsItems, unbatched="unbatched mixture: shapes differ"),
    violates(defects.SwapsAxes, channels=r"shape must be \(B, S, C, T\)"),
    violates(defects.GuessesAxes, wrong_shapes_are_refused=accepted("mixture of the wrong rank")),
    violates(defects.ExchangesAxes, samples_before_channels_are_refused=accepted("samples before channels")),
    violates(defects.AcceptsArrays, samples_before_channels_are_refused=accepted("input that is no tensor")),
    violates(
        defects.LosesShapeOfEmptyBatch,
        empty_batches_are_supported="estimates of an empty batch must be empty",
    ),
    violates(defects.AcceptsIntegers, wrong_dtypes_are_refused=accepted("mixture of torch.int16")),
    violates(defects.MapsItemsInReverse, vmap_is_a_batch="items mapped by vmap: off by"),
    violates(defects.AcceptsUnknownTensors, required_tensors_are_checked=accepted("unknown tensor")),
    violates(defects.AcceptsMissingSources, required_tensors_are_checked=accepted("missing sources")),
    violates(
        defects.ReplacesNonFiniteSamples,
        non_finite_mixtures_are_refused=accepted("mixture without finite items"),
        non_finite_items_are_isolated="estimates of a non-finite item must not be finite",
    ),
    violates(defects.ReadsMemoryOrder, any_memory_layout="^transposed layout: off by"),
    violates(defects.NeedsContiguous, any_memory_layout=Failure("view size is not compatible", RuntimeError)),
    violates(defects.WritesInput, input_is_not_modified="inputs must not be modified with no_grad"),
    violates(defects.ReturnsViews, input_is_not_modified="estimates must not share memory"),
    violates(
        defects.DrawsNoise,
        deterministic="two calls must agree",
        global_generators_are_not_used="states of the global generators must not change",
    ),
    violates(
        defects.SeedsGlobalGenerator,
        global_generators_are_not_used="states of the global generators must not change",
    ),
    violates(defects.StoresRunningMean, calls_are_stateless="attributes must not change"),
    violates(defects.DependsOnPreviousCall, calls_are_stateless="estimates must not depend on earlier calls"),
    violates(
        defects.ScalesByBatch,
        items_are_independent="item of a batch: off by",
        non_finite_items_are_isolated=ISOLATED,
    ),
    violates(defects.SpreadsNonFiniteItem, non_finite_items_are_isolated=ISOLATED),
    violates(defects.RefusesEqualChannels, poor_items_are_isolated=Failure("channels must differ", ValueError)),
    violates(defects.ReturnsSinglePrecision, dtypes_are_preserved="estimates must have the dtype of the mixture"),
    violates(
        defects.ComputesInHalfPrecision,
        dtypes_are_preserved="half precision must be computed in single precision",
    ),
    violates(
        defects.MixesPrecisions,
        autocast_is_supported=Failure(r"\(Float\) and source \(BFloat16\) must have the same", RuntimeError),
    ),
    violates(defects.RoundsSinglePrecision, single_agrees_with_double="single precision: off by"),
    violates(defects.SinglePrecisionConstants, estimates_sum_to_the_mixture=r"sum of the estimates: off by .*e-0[78]"),
    violates(defects.LosesEnergy, estimates_sum_to_the_mixture=r"sum of the estimates: off by 0\.00"),
    violates(defects.AbsoluteFloor, scale_equivariant=r"gain of 0\.0001: off by"),
    violates(defects.SquaresOverflow, extreme_levels_are_supported="estimates must be finite at any level"),
    violates(
        defects.ScalesWithoutGradient,
        extreme_levels_are_supported="gradient of mixture at extreme levels: off by",
    ),
    violates(
        defects.DefaultDtypeConstants,
        state_of_the_process_does_not_matter=Failure("expected m1 and m2 to have the same dtype", RuntimeError),
    ),
    violates(
        defects.DefaultDeviceConstants,
        state_of_the_process_does_not_matter=Failure("Cannot copy out of meta tensor", NotImplementedError),
    ),
    violates(
        defects.DivergesWithoutValues,
        tensors_without_values_are_no_surprise="estimates without values must have the right shape",
    ),
    violates(
        defects.ReadsValuesAtConstruction,
        tensors_without_values_are_no_surprise=Failure("cannot be called on meta tensors", RuntimeError),
    ),
    violates(defects.DividesZeroByZero, silence_stays_silent="estimates of silence must be zero"),
    violates(
        defects.LeaksIntoSilence,
        silence_stays_silent="estimates of silence must be zero",
        silent_parts_are_finite="estimates of a silent item must be zero",
    ),
    violates(defects.SquareRootAtZero, silence_stays_silent=NOT_FINITE, silent_parts_are_finite=NOT_FINITE),
    violates(defects.NormalizesChannels, silent_parts_are_finite="estimates must be finite"),
    violates(
        defects.AmplifiesQuietChannels,
        nearly_silent_channels_are_silent="nearly silent channel: off by",
    ),
    violates(modules.DetachesMixture, gradient_reaches_everything="gradient of mixture must not be zero"),
    violates(
        modules.FirstChannelOnly,
        gradient_reaches_everything="gradient must reach every channel of every item",
        estimates_sum_to_the_mixture=r"sum of the estimates: off by \d\.\d+ of",
    ),
    violates(modules.UnusedParameter, gradient_reaches_everything="unused must have a gradient"),
    violates(modules.DetachesMasks, TRAINABLE, gradient_reaches_everything="free_power must have a gradient"),
    violates(modules.DetachesMasks, gradient_is_correct=Failure("Jacobian mismatch for output 0", GradcheckError)),
    violates(
        modules.MasksWithoutStraightThrough,
        BINARY,
        gradient_is_correct="straight-through gradient of mixture: off by",
    ),
    violates(modules.RenamedArgument, arguments_are_stored=UNSTORED, config_round_trip=UNSTORED),
    violates(
        modules.AdjustedArgument,
        arguments_are_stored="sharpness must be stored as given",
        config_round_trip="config must build the same config",
    ),
    violates(modules.TensorArgument, arguments_are_stored=NOT_JSON, config_round_trip=NOT_JSON),
    violates(
        modules.RandomAtConstruction,
        config_round_trip="config must build the same estimates",
        checkpoint_round_trip="checkpoint must restore the estimates",
    ),
    violates(modules.PersistentWindow, state_dict_round_trip="state without parameters must be empty: window"),
    violates(
        modules.EmptyState,
        TRAINABLE,
        state_dict_round_trip="state must have all parameters",
        checkpoint_round_trip=Failure(r'Missing key\(s\) in state_dict: "free_power"', RuntimeError),
    ),
    violates(modules.StoresFunction, copies_are_equal=Failure("Can't pickle local object", AttributeError)),
    violates(modules.EmptyRepr, repr_shows_all_arguments="repr must show power"),
    violates(
        modules.TooManyNames,
        names_match_the_estimates="names must match the number of estimates",
        channels=r"shape must be \(B, S, C, T\)",
    ),
    violates(
        modules.NoNames,
        names_match_the_estimates="only a separator that requires the sources may have no names",
    ),
    violates(modules.MasksAboveOne, SMALL, masks_sum_to_one="masks must not exceed one"),
    violates(modules.MasksBelowOne, SMALL, masks_sum_to_one=r"sum of the masks: off by 0\.01"),
    violates(
        modules.OverlappingBinaryMasks,
        BINARY,
        masks_sum_to_one="binary masks must assign each bin to one source",
    ),
    violates(modules.BranchesOnData, compiles_as_one_graph=Failure("Data-dependent branching", Unsupported)),
    violates(modules.LowPrecisionWindow, casts_preserve_precision="cast to half: off by"),
]


@pytest.mark.parametrize("promise", PARAMETERS)
@pytest.mark.parametrize("control", CONTROLS)
def test_control_keeps_every_promise(control, promise, device, compile_backend):
    kind, arguments = CONTROLS[control]
    with registered(kind) as name:
        promise(Case(name, arguments, compile_backend=compile_backend), device)


@pytest.mark.parametrize(
    ("defect", "promise"),
    [
        pytest.param(defect, promise, id=f"{defect.kind.__name__}-{promise}")
        for defect in DEFECTS
        for promise in defect.failures
    ],
)
def test_defect_breaks_its_promise(defect, promise, device, compile_backend):
    message, kind = defect.failures[promise]
    with registered(defect.kind) as name:
        case = Case(name, defect.arguments, compile_backend=compile_backend)
        estimates = run(case.build(device), case.inputs(device, 400))
        assert estimates.isfinite().all(), "a defective separator must work in general"
        with pytest.raises(kind, match=message):
            PROMISES[promise](case, device)


def test_every_promise_has_a_defect():
    assert {promise for defect in DEFECTS for promise in defect.failures} == set(PROMISES)
