"""The kinds of values of params.yaml: types and ranges."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):  # to Python it is a number
        raise ValueError
    return value


NUMBER = BeforeValidator(_no_flag)
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NUMBER]
PositiveShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NUMBER]
DropoutRate = Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False), NUMBER]
Number = Annotated[float, Field(allow_inf_nan=False), NUMBER]
FromZero = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), NUMBER]
Count = Annotated[int, Field(ge=0), NUMBER]
AtLeastOne = Annotated[int, Field(ge=1), NUMBER]
Tokens = Annotated[int, Field(ge=3), NUMBER]
Average = Annotated[AtLeastOne | Literal["greedy"], Field(union_mode="left_to_right")]
Weight = Annotated[Literal["auto"] | FromZero, Field(union_mode="left_to_right")]
Frozen = Annotated[AtLeastOne | Literal["all"], Field(union_mode="left_to_right")]
Text = Annotated[str, Field(pattern=r"\S")]
Column = Annotated[Text, BeforeValidator(lambda name: str(name) if type(name) in (int, float) else name)]  # such as 2
Prompt = Annotated[str, Field(min_length=1)]


def _window(value: Any) -> Any:
    if not (isinstance(value, list | tuple) and len(value) == 2 and all(type(rank) is int for rank in value)):
        raise ValueError
    if not 1 <= value[0] <= value[1]:
        raise ValueError
    return tuple(value)


Window = Annotated[tuple[int, int], BeforeValidator(_window)]

T = TypeVar("T")
Maybe = Annotated[T | None, BeforeValidator(lambda value: None if value == "none" else value)]  # `dvc exp run -S key=none`
