"""One small case of every layer: what its factory needs beside d_model and d_ff, fit for 64 tokens of width 32."""

AXES: dict[str, dict[str, object]] = {
    "dense": {},
    "soft": {"num_experts": 4, "slots_per_expert": 4},
    "token_choice": {"num_experts": 4},
    "expert_choice": {"num_experts": 4},
    "switch": {"num_experts": 4},
    "gshard": {"num_experts": 4},
    "vmoe": {"num_experts": 4},
    "mixtral": {"num_experts": 4},
    "smear": {"num_experts": 4},
    "peer": {"num_experts": 64, "top_k": 16},
    "identity": {"num_experts": 4, "slots_per_expert": 16},
    "uniform": {"num_experts": 4, "slots_per_expert": 4},
    "soft_uniform": {"num_experts": 4, "slots_per_expert": 4},
    "uniform_soft": {"num_experts": 4, "slots_per_expert": 4},
    "dense_active": {"num_experts": 4},
    "dense_total": {"num_experts": 4},
    "deepseek": {"num_experts": 4},
    "hash_routing": {"num_experts": 4},
    "balanced_assignment": {"num_experts": 4},
    "remoe": {"num_experts": 4},
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

MODELS: dict[str, dict[str, object]] = {
    f"vit {moe}": {"variant": "tiny", "moe": moe, **AXES[moe]}
    for moe in ("dense", "soft", "token_choice", "expert_choice")
}
"""Name -> axes of one small model with each layer, whose 64 tokens fit those examples."""
