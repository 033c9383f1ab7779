"""Parameters, FLOPs and bytes of a case: plain arithmetic on its axes, each formula with its source.

One multiply-add is 2 FLOP. Only matrix products are counted: softmax, GELU, biases, norms, top-k, sort, gather and
scatter are not. This is the convention of the paper's evaluation GFLOPs (Puigcerver et al. 2024, arXiv:2308.00951v2,
Table 8, which it reproduces within 1 %) and of torch's FlopCounterMode; fvcore counts multiply-adds instead. A number
that depends on the data is None, never 0.
"""

from bench.costs.ablations import identity as identity
from bench.costs.ablations import soft_uniform as soft_uniform
from bench.costs.ablations import uniform as uniform
from bench.costs.ablations import uniform_soft as uniform_soft
from bench.costs.cost import Cost as Cost
from bench.costs.cost import for_mode as for_mode
from bench.costs.dense import dense as dense
from bench.costs.dense import dense_active as dense_active
from bench.costs.dense import dense_total as dense_total
from bench.costs.dense import matched_width as matched_width
from bench.costs.dropless import balanced_assignment as balanced_assignment
from bench.costs.dropless import deepseek as deepseek
from bench.costs.dropless import hash_routing as hash_routing
from bench.costs.dropless import remoe as remoe
from bench.costs.named import gshard as gshard
from bench.costs.named import mixtral as mixtral
from bench.costs.named import switch as switch
from bench.costs.named import vmoe as vmoe
from bench.costs.peer import peer as peer
from bench.costs.peers import mixtral_transformers as mixtral_transformers
from bench.costs.peers import soft_mixture_of_experts as soft_mixture_of_experts
from bench.costs.peers import soft_moe_bwconrad as soft_moe_bwconrad
from bench.costs.peers import soft_moe_pytorch as soft_moe_pytorch
from bench.costs.smear import smear as smear
from bench.costs.soft import soft as soft
from bench.costs.sparse import capacity as capacity
from bench.costs.sparse import expert_choice as expert_choice
from bench.costs.sparse import token_choice as token_choice
from bench.costs.training import training_exaflop as training_exaflop
from bench.costs.vit import VARIANTS as VARIANTS
from bench.costs.vit import vit as vit
