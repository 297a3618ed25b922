# SPDX-License-Identifier: Apache-2.0
"""Function-preserving changes of a float network that make it easier to quantize.

from intarsia.quantize import Scheme, Transforms, quantize
scheme, transforms = Scheme.parse("superposition"), Transforms.parse("widen1.25+permute")
result = quantize(model, dataset, scheme, seed=0, transforms=transforms)

`settings` says which there are, `channels` which tensors share their channels, and `permute`, `equalize` and `widen`
each hold one; `apply` takes the steps that `read_plan` returned through those asked for.
"""
