"""Operations that kernels are built of: one vector lane a channel, all channels of a pixel at once.

Values are LLVM vectors of float32, one lane a channel; memory is channels-last, so that a pixel is one vector.
Operations round one by one, in the order written: nothing is contracted or reordered unless `fma` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

from llvmlite import ir

INT, POINTER, FLOAT, DOUBLE = ir.IntType(64), ir.PointerType(), ir.FloatType(), ir.DoubleType()
FIRST = INT(0)


@final
class Variable:
    """A loop variable; a register once compiled."""

    def __init__(self, builder: ir.IRBuilder, initial: ir.Value) -> None:
        self._builder, self._type = builder, initial.type
        with builder.goto_entry_block():
            self._place = builder.alloca(initial.type)
        self.set(initial)

    def get(self) -> ir.Value:
        return self._builder.load(self._place, typ=self._type)

    def set(self, value: ir.Value) -> None:
        self._builder.store(value, self._place)


@final
class Lanes:
    """Builds one LLVM function that takes `arguments` of these types and returns nothing."""

    def __init__(self, module: ir.Module, name: str, arguments: Sequence[ir.Type], channels: int) -> None:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.arguments: tuple[ir.Argument, ...] = function.args
        self.build = ir.IRBuilder(function.append_basic_block())
        self.vector, self.double = ir.VectorType(FLOAT, channels), ir.VectorType(DOUBLE, channels)
        self.integers = ir.VectorType(ir.IntType(32), channels)
        self._module, self._channels = module, channels

    def end(self) -> None:
        self.build.ret_void()

    @contextmanager
    def each(self, stop: ir.Value) -> Iterator[ir.Value]:
        """Loop over what the block builds for 0, 1, ... below `stop`, an integer of at least 0."""
        turn = Variable(self.build, FIRST)
        asked, body, after = (self.build.append_basic_block() for _ in range(3))
        self.build.branch(asked)
        self.build.position_at_end(asked)
        index = turn.get()
        self.build.cbranch(self.build.icmp_unsigned("<", index, stop), body, after)
        self.build.position_at_end(body)
        yield index
        turn.set(self.build.add(index, INT(1)))
        self.build.branch(asked)
        self.build.position_at_end(after)

    def variable(self, initial: ir.Value) -> Variable:
        return Variable(self.build, initial)

    def load(self, pointer: ir.Value, pixel: ir.Value = FIRST) -> ir.Value:
        """The channels of the `pixel`-th pixel."""
        return self.build.load(self._address(pointer, pixel), align=4, typ=self.vector)

    def store(self, value: ir.Value, pointer: ir.Value, pixel: ir.Value = FIRST) -> None:
        self.build.store(value, self._address(pointer, pixel), align=4)

    def number(self, value: float) -> ir.Constant:
        """The same float32 in every lane."""
        return ir.Constant(self.vector, [value] * self._channels)

    def integer(self, value: int) -> ir.Constant:
        return ir.Constant(self.integers, [value] * self._channels)

    def spread(self, value: ir.Value) -> ir.Value:
        """A float64 in every lane, rounded to float32."""
        return self.narrow(self.exactly(value))

    def exactly(self, value: ir.Value) -> ir.Value:
        """A float64 in every lane."""
        one = self.build.insert_element(ir.Constant(self.double, ir.Undefined), value, ir.IntType(32)(0))
        return self.build.shuffle_vector(one, ir.Constant(self.double, ir.Undefined), ir.Constant(self.integers, None))

    def count(self, value: ir.Value) -> ir.Value:
        """An integer as a float64 in every lane."""
        return self.exactly(self.build.uitofp(value, DOUBLE))

    def wide(self, value: ir.Value) -> ir.Value:
        """Float32 lanes as float64."""
        return self.build.fpext(value, self.double)

    def narrow(self, value: ir.Value) -> ir.Value:
        """Float64 lanes rounded to float32."""
        return self.build.fptrunc(value, self.vector)

    def fma(self, factor: ir.Value, other: ir.Value, term: ir.Value) -> ir.Value:
        """`factor` x `other` + `term`, rounded once."""
        return self._intrinsic("fma", factor, other, term)

    def root(self, value: ir.Value) -> ir.Value:
        return self._intrinsic("sqrt", value)

    def _intrinsic(self, name: str, *values: ir.Value) -> ir.Value:
        kind = values[0].type
        full = f"llvm.{name}.v{self._channels}f{64 if kind == self.double else 32}"
        if full not in self._module.globals:
            ir.Function(self._module, ir.FunctionType(kind, [kind] * len(values)), full)
        return self.build.call(self._module.globals[full], values)

    def _address(self, pointer: ir.Value, pixel: ir.Value) -> ir.Value:
        return self.build.gep(pointer, [self.build.mul(pixel, INT(self._channels))], source_etype=FLOAT)
