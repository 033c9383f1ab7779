"""One small case of every layer: what its factory needs beside d_model and d_ff, fit for 64 tokens of width 32."""

AXES: dict[str, dict[str, object]] = {
    "dense": {},
    "soft": {"num_experts": 4, "slots_per_expert": 4},
    "token_choice": {"num_experts": 4},
    "expert_choice": {"num_experts": 4},
    "soft_moe_pytorch": {"num_experts": 4, "slots_per_expert": 4},
    "soft_mixture_of_experts": {"num_experts": 4, "slots_per_expert": 4},
    "soft_moe_bwconrad": {"num_experts": 4, "slots_per_expert": 4},
    "mixtral_transformers": {"num_experts": 4},
    "mixture_of_experts": {"num_experts": 4},
    "st_moe_pytorch": {"num_experts": 4},
}
"""Name -> axes without a default; a test that goes over every layer starts from these."""

SHAPE: dict[str, object] = {"batch_size": 2, "seq_len": 64, "d_model": 32, "d_ff": 64}
"""The shape that the examples are made for."""
