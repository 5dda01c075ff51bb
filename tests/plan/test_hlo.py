"""Collectives are read from XLA's text with their loops, their axes and their bytes."""

import pytest

from empg_jax.distributed import sharding
from empg_jax.plan import hlo

PROGRAM = """\
HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%body (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %p = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) parameter(0)
  %x = f32[8,4]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %reduced = f32[8,4]{1,0:T(8,128)} all-reduce(%x), replica_groups=GROUPS, to_apply=%add
  ROOT %out = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) tuple(%i, %reduced)
}

%condition (p: (s32[], f32[8,4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(5)
  ROOT %less = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main (x: f32[8,4]) -> f32[8,4] {
  %x = f32[8,4]{1,0:T(8,128)} parameter(0)
  %gathered = bf16[32,4]{1,0:T(8,128)(2,1)} all-gather(%x), replica_groups=[2,4]<=[4,2]T(1,0)
  %moved = (bf16[8,4]{1,0}, bf16[8,4]{1,0}, u32[]{:S(2)}) collective-permute-start(%x), \
source_target_pairs={{0,2},{2,4},{4,6},{6,0}}
  %loop = (s32[], f32[8,4]) while(%init), condition=%condition, body=%body
  ROOT %done = f32[8,4]{1,0} get-tuple-element(%loop), index=1
}
"""


@pytest.fixture
def mesh():
  return sharding.make_mesh(fsdp=4, tensor=2)


@pytest.mark.parametrize(
  "groups, axes, share",
  [
    ("{{0,1},{2,3},{4,5},{6,7}}", ("tensor",), 1 / 2),
    ("[4,2]<=[8]", ("tensor",), 1 / 2),
    ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", ("fsdp",), 3 / 4),
    ("mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", ("fsdp",), 3 / 4),
    ("mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}", ("tensor",), 1 / 2),
    ("{{0,1,2,3,4,5,6,7}}", ("fsdp", "tensor"), 7 / 8),
  ],
)
def test_a_reduction_in_a_loop_counts_at_every_trip(mesh, groups, axes, share):
  found = hlo.collectives(PROGRAM.replace("GROUPS", groups), mesh)
  reduced = next(x for x in found if x.kind == "all-reduce")
  assert (reduced.axes, reduced.times) == (axes, 5)
  assert reduced.sent == 5 * 2 * 8 * 4 * 4 * share


def test_a_gather_and_a_permutation(mesh):
  text = PROGRAM.replace("GROUPS", "{{0,1}}")
  found = {x.kind: x for x in hlo.collectives(text, mesh)}
  assert found["all-gather"].axes == found["collective-permute"].axes == ("fsdp",)
  assert found["all-gather"].sent == 32 * 4 * 2 * 3 / 4
  assert found["collective-permute"].sent == 8 * 4 * 2


def test_what_is_sent_between_slices_counts_along_the_first_axis():
  sent = """  %send.1 = (f32[8,4]{1,0:T(8,128)}, u32[], token[]) send(%x, %after), channel_id=10, \
is_host_transfer=true, frontend_attributes={\
_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %loop = """
  text = PROGRAM.replace("GROUPS", "{{0,1}}").replace("  %loop = ", sent)
  found = hlo.collectives(text, sharding.make_mesh(data=2, fsdp=2, tensor=2))
  between = next(x for x in found if x.axes == ("data",) and x.kind == "all-reduce")
  assert (between.times, between.sent) == (1, 2 * 8 * 4 * 4 / 2)


def test_the_largest_array():
  assert hlo.largest_buffer(PROGRAM) == 32 * 4
