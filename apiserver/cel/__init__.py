"""CEL, the expression language of policies, match conditions and rules of custom resources."""

from apiserver.cel.program import CelError, CompileError, EvaluationError, Program, compile_program

__all__ = ["CelError", "CompileError", "EvaluationError", "Program", "compile_program"]
