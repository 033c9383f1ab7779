"""The closed list of what makes a number less true: code, text, hint.

A worker raises those that it can see (`Flag`); those about samples and repeats are found on reading.
"""

from bench.caveats.rules import CORRELATED as CORRELATED
from bench.caveats.rules import DISAGREEMENT as DISAGREEMENT
from bench.caveats.rules import DRIFT as DRIFT
from bench.caveats.rules import FEW_REPEATS as FEW_REPEATS
from bench.caveats.rules import IMPRECISE as IMPRECISE
from bench.caveats.rules import MARKED_SHARE as MARKED_SHARE
from bench.caveats.rules import MARKED_SHIFT as MARKED_SHIFT
from bench.caveats.rules import NOISY_SPREAD as NOISY_SPREAD
from bench.caveats.rules import TOLERATED as TOLERATED
from bench.caveats.rules import of_ceilings as of_ceilings
from bench.caveats.rules import of_counts as of_counts
from bench.caveats.rules import of_marks as of_marks
from bench.caveats.rules import of_repeats as of_repeats
from bench.caveats.rules import of_samples as of_samples
from bench.caveats.table import DISTURBED as DISTURBED
from bench.caveats.table import TABLE as TABLE
from bench.caveats.table import Caveat as Caveat
