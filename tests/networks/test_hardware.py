"""Mixed precision is taken where the processor has units for it, and only there."""

from headstart.networks.hardware import training_precision


def test_a_processor_with_bfloat16_tiles_gains(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("flags : fpu avx512f amx_tile amx_bf16 amx_int8\n")
    assert training_precision(told) == "mixed_bfloat16"


def test_a_processor_without_them_stays_in_float32(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("flags : fpu avx512f avx512_bf16x avx512_vnni\n")
    assert training_precision(told) == "float32"
    assert training_precision(tmp_path / "nothing") == "float32"
