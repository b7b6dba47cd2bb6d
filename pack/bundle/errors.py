# SPDX-License-Identifier: Apache-2.0
"""What can go wrong because of the input, and how it is said.

UserError                 exit code 2: one line that names the place and the way out
+-- InputError            a file, array or image that is missing, short, or malformed
+-- RecipeError           a key or value of the recipe
+-- CheckpointError       a checkpoint that does not fit the model
+-- UnsupportedLayer      a layer that has no lowering to a loop nest
+-- RangeError            numbers that no legal format can hold
+-- ProgramError          a program that the validator refuses
+-- ToolError             a simulator that is missing or fails
+-- RefereeError          samples or labels that can't judge a retrained network
+-- DeviceError           a core on a bus that is absent, built otherwise, or reports an error
"""


class UserError(Exception):
    """Base of everything a user can cause and mend. Its text is the whole message."""


class InputError(UserError):
    """A file, array or image is missing, too short, or malformed."""


class RecipeError(UserError):
    """A key or a value of the recipe is wrong."""


class CheckpointError(UserError):
    """The checkpoint can't be read or does not fit the model."""


class UnsupportedLayer(UserError):
    """A layer that bramcast can't express as a loop nest."""


class RangeError(UserError):
    """Values for which no legal Q format, shift or accumulator bound exists."""


class ProgramError(UserError):
    """A program image that does not describe a legal run of the core."""


class ToolError(UserError):
    """A simulator or compiler is missing or has failed."""


class RefereeError(UserError):
    """Samples or labels don't fit the old bundle, so that they can't judge a new one."""


class DeviceError(UserError):
    """A core that is driven over its bus does not answer as it should."""
