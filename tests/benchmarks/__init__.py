"""The loop against what people would use instead: same model, same data, in turns, every result kept.

`workload` says what is trained on, `systems` what trains, `workers` runs each in a process of its own,
`ceiling` times the matrix products alone, `costs` measures memory, rows, start and logits, and `report`
compares all that with what was to be reached.
"""

import logging

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # PEFT imports it; it misses the hub's kernels
