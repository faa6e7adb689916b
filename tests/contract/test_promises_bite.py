"""Mutation tests of the contract: each planted defect fails its promises, and correct separators pass all."""

import pytest
from contract import controls, defects
from contract.cases import SMALL, Case, registered
from contract.promises import PARAMETERS, PROMISES, run

LEARNED = {"sample_rate": 8000, "trainable": ("power",)}
PLAIN = {"sample_rate": 8000}
BINARY = {**SMALL, "mask_type": "binary"}

CONTROLS = {
    "plain": (controls.Control, PLAIN),
    "learned": (controls.Control, LEARNED),
    "soft": (controls.MaskControl, SMALL),
    "binary": (controls.MaskControl, BINARY),
    "oracle": (controls.OracleControl, PLAIN),
}

# The defect, how it is built, and the promises that it breaks, among others.
DEFECTS = [
    (defects.LosesTail, PLAIN, "shapes"),
    (defects.MirrorsEnds, PLAIN, "shapes"),
    (defects.TakesChannelsForItems, PLAIN, "unbatched"),
    (defects.SwapsAxes, PLAIN, "channels"),
    (defects.GuessesAxes, PLAIN, "wrong_shapes_are_refused"),
    (defects.TakesIntegers, PLAIN, "wrong_dtypes_are_refused"),
    (defects.TakesAnything, PLAIN, "required_tensors_are_checked"),
    (defects.MakesDoWithoutSources, PLAIN, "required_tensors_are_checked"),
    (defects.HidesBadSamples, PLAIN, "wholly_bad_mixtures_are_refused a_bad_item_stays_alone"),
    (defects.ReadsMemoryOrder, PLAIN, "any_memory_layout"),
    (defects.NeedsContiguous, PLAIN, "any_memory_layout"),
    (defects.WritesInput, PLAIN, "input_is_left_alone"),
    (defects.ReturnsViews, PLAIN, "input_is_left_alone"),
    (defects.DrawsNoise, PLAIN, "same_answer_twice global_generators_are_left_alone"),
    (defects.SeedsAll, PLAIN, "global_generators_are_left_alone"),
    (defects.KeepsMean, PLAIN, "calls_leave_no_trace"),
    (defects.RemembersPrevious, PLAIN, "calls_leave_no_trace"),
    (defects.ScalesByBatch, PLAIN, "items_do_not_see_one_another a_bad_item_stays_alone"),
    (defects.SpreadsBadItem, PLAIN, "a_bad_item_stays_alone"),
    (defects.ReturnsSingle, PLAIN, "dtypes_are_kept"),
    (defects.ComputesInHalf, PLAIN, "dtypes_are_kept"),
    (defects.MixesPrecisions, PLAIN, "autocast_is_survived"),
    (defects.RoundsSingle, PLAIN, "single_agrees_with_double"),
    (defects.SingleConstants, PLAIN, "estimates_add_up"),
    (defects.LosesEnergy, PLAIN, "estimates_add_up"),
    (defects.AbsoluteFloor, PLAIN, "loudness_is_no_cue"),
    (defects.ZeroByZero, PLAIN, "silence_stays_silent"),
    (defects.LeaksIntoSilence, PLAIN, "silence_stays_silent silent_parts_are_survived"),
    (defects.RootAtZero, PLAIN, "silence_stays_silent silent_parts_are_survived"),
    (defects.NormalizesChannels, PLAIN, "silent_parts_are_survived"),
    (defects.Detaches, PLAIN, "gradient_reaches_everything"),
    (defects.FirstChannelOnly, PLAIN, "gradient_reaches_everything estimates_add_up"),
    (defects.IdleParameter, PLAIN, "gradient_reaches_everything"),
    (defects.HoldsShares, LEARNED, "gradient_reaches_everything"),
    (defects.HoldsShares, PLAIN, "gradient_is_right"),
    (defects.HardMasks, BINARY, "gradient_is_right"),
    (defects.RenamedArgument, PLAIN, "arguments_are_stored config_rebuilds_it"),
    (defects.AdjustedArgument, PLAIN, "arguments_are_stored config_rebuilds_it"),
    (defects.TensorArgument, PLAIN, "arguments_are_stored config_rebuilds_it"),
    (defects.DrawnAtConstruction, PLAIN, "config_rebuilds_it checkpoint_restores_it"),
    (defects.PersistentWindow, PLAIN, "state_restores_it"),
    (defects.HidesParameter, LEARNED, "state_restores_it checkpoint_restores_it"),
    (defects.HoldsFunction, PLAIN, "copies_are_equal"),
    (defects.TellsNothing, PLAIN, "repr_tells_all_arguments"),
    (defects.NamesThree, PLAIN, "names_fit_the_estimates channels"),
    (defects.NamesNothing, PLAIN, "names_fit_the_estimates"),
    (defects.MasksAboveOne, SMALL, "masks_are_shares"),
    (defects.MasksLoseShare, SMALL, "masks_are_shares"),
    (defects.DoubleOwners, BINARY, "masks_are_shares"),
    (defects.BranchesOnData, PLAIN, "compiles_as_one_graph"),
    (defects.LowPrecisionWindow, PLAIN, "casts_do_no_harm"),
]


@pytest.mark.parametrize("promise", PARAMETERS)
@pytest.mark.parametrize("control", CONTROLS)
def test_control_keeps_every_promise(control, promise, device, compile_backend):
    kind, arguments = CONTROLS[control]
    with registered(kind) as name:
        promise(Case(name, arguments, compile_backend=compile_backend), device)


@pytest.mark.parametrize(
    ("kind", "arguments", "promise"),
    [
        pytest.param(kind, arguments, promise, id=f"{kind.__name__}-{promise}")
        for kind, arguments, promises in DEFECTS
        for promise in promises.split()
    ],
)
def test_defect_breaks_its_promise(kind, arguments, promise, device, compile_backend):
    with registered(kind) as name:
        case = Case(name, arguments, compile_backend=compile_backend)
        # It is a separator that works on the day it is shown.
        assert run(case.build(device), case.inputs(device, 400)).isfinite().all()
        with pytest.raises((Exception, pytest.fail.Exception)):
            PROMISES[promise](case, device)


def test_every_promise_has_a_defect():
    broken = {promise for _, _, promises in DEFECTS for promise in promises.split()}
    assert broken == set(PROMISES)
