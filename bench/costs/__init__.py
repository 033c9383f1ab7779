"""Parameters, FLOPs and bytes of a case: plain arithmetic on its axes, each formula with its source.

One multiply-add is 2 FLOP. Only matrix products are counted: softmax, GELU, biases, norms, top-k, sort, gather and
scatter are not. This is the convention of the paper's evaluation GFLOPs (Puigcerver et al. 2024, arXiv:2308.00951v2,
Table 8, which it reproduces within 1 %) and of torch's FlopCounterMode; fvcore counts multiply-adds instead. A number
that depends on the data is None, never 0.
"""

from bench.costs.cost import Cost as Cost
from bench.costs.cost import for_mode as for_mode
from bench.costs.dense import dense as dense
from bench.costs.peers import mixtral_transformers as mixtral_transformers
from bench.costs.peers import soft_mixture_of_experts as soft_mixture_of_experts
from bench.costs.peers import soft_moe_bwconrad as soft_moe_bwconrad
from bench.costs.peers import soft_moe_pytorch as soft_moe_pytorch
from bench.costs.soft import soft as soft
from bench.costs.sparse import capacity as capacity
from bench.costs.sparse import expert_choice as expert_choice
from bench.costs.sparse import token_choice as token_choice
