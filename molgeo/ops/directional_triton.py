"""The sum over triplets k→j→i and its derivatives of first and second order, in Triton.

One program takes an atom j. The edges i, k that leave it are taken in tiles, so that any number of
neighbours fits, and nothing of the size of triplets, or of edges · orders · channels, is written to
memory: harmonics, filters and their products live in registers from one matrix product to the next.

With the unit vectors v of the edges that leave j, ``c_ik = −v_i·v_k`` and ``Y_l`` the zonal
harmonics, sums over k and i leaving out i = k:

    S_k[l,c] = Σ_b T_k[l,b] W[c,b]              filters
    Z_k[l,c] = x_k[c] S_k[l,c]                  filtered features of the edge k→j
    m_i[c]   = Σ_k Σ_l Y_l(c_ik) Z_k[l,c]       messages of the edge j→i

and, for a weight g of the messages, the derivatives of ``F = Σ_i g_i·m_i``:

    V_k[l,c]   = Σ_i Y_l(c_ik) g_i[c]           ∂F/∂Z, from which ∂F/∂x, ∂F/∂T and ∂F/∂W follow
    D_ik       = Σ_l Y_l'(c_ik) Σ_c g_i[c] Z_k[l,c]
    ∂F/∂v_a    = −Σ_b (D_ab + D_ba) v_b

The derivatives of second order are the tangents of all this, by the product rule. Derivatives by
the features are written once an edge, those by the weight once a program and summed in a fixed
order: there are no atomics, and a result does not change from run to run.

In the kernels ``a`` and ``b`` are the two tiles of edges, and a leading ``d`` marks a tangent. Orders
are the outer loop, because then one V at a time is held; the recurrence of the harmonics starts
again for each, which is little next to the matrix products.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.segment import fold_pairs

PROGRAMS = 1024
"""Most programs that a gradient is spread over: each of them writes a sum for the weight."""

Tangents = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def directional_forward(
    unit: Tensor, x: Tensor, radial: Tensor, weight: Tensor, graph: Graph
) -> Tensor:
    """Sum over triplets: ``m_ji[c] = Σ_{k∈N(j)∖i} x_kj[c] Σ_l Y_l0(α) Σ_b T_kj[l,b] W[c,b]``.

    Args:
        unit: (edges, 3) unit vector along each edge.
        x: (edges, channels) features x_kj.
        radial: (pairs, n_spherical, rank) the filters' factor T, the same in both directions.
        weight: (channels, rank) the filters' factor W.
        graph: the edges.

    Returns:
        (edges, channels) messages m_ji, of the widest type of the arguments, summed in float32 or,
        if that is one of them, float64.
    """
    operands = [operand.contiguous() for operand in (unit, x, radial, weight)]
    out = x.new_empty(x.shape, dtype=_widest(*operands))
    if graph.n_edges:
        with torch.cuda.device_of(x):
            _forward_kernel[(graph.n_atoms, _slices(graph))](
                *operands, graph.reverse, graph.pair, graph.ptr, out, **_options(*operands)
            )
    return out


def directional_gradients(
    grad: Tensor,
    unit: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    graph: Graph,
    tangents: Tangents | None = None,
    *,
    need_unit: bool = True,
) -> tuple[Tensor | None, Tensor | None, Tensor, Tensor, Tensor]:
    """Derivatives of ``F = Σ_e grad_e·m_e``, or how they change along a tangent.

    Second derivatives are symmetric. So what this gives for the tangents t is the gradient of
    ``Σ t·(∂F/∂unit, …)`` by all arguments, grad included: the backward of the backward.

    Args:
        grad: (edges, channels) weight of each message.
        unit: (edges, 3) unit vector along each edge; its components are taken as independent.
        x: (edges, channels) features x_kj.
        radial: (pairs, n_spherical, rank) the filters' factor T.
        weight: (channels, rank) the filters' factor W.
        graph: the edges.
        tangents: changes of unit, x, radial and weight, None for zero; grad does not change.
        need_unit: whether ∂F/∂unit, most of the work, is wanted; with tangents it is given anyway.

    Returns:
        ``None, ∂F/∂unit, ∂F/∂x, ∂F/∂radial, ∂F/∂weight``, shaped and typed as the arguments; with
        tangents the directional derivatives of ``m, ∂F/∂unit, …``. ``∂F/∂unit`` is None if it is
        not wanted.
    """
    operands = [operand.contiguous() for operand in (unit, x, radial, weight)]
    grad = grad.contiguous()
    programs = min(graph.n_atoms, PROGRAMS), _slices(graph)
    options = _options(*operands)
    n_channels, rank = weight.shape
    wide = torch.float64 if options["DTYPE"] == tl.float64 else torch.float32
    # Before the sum over programs, and over the two edges of a pair.
    of_weight = weight.new_zeros(programs[0] * programs[1], rank, n_channels, dtype=wide)
    of_radial = radial.new_empty(graph.n_edges, *radial.shape[1:])
    of_unit, of_x = torch.empty_like(operands[0]), torch.empty_like(operands[1])
    index = graph.reverse, graph.pair, graph.ptr
    m = None
    if tangents is not None:
        m = x.new_empty(x.shape, dtype=_widest(*operands))
        changes = [
            torch.zeros_like(operand) if change is None else change.contiguous()
            for operand, change in zip(operands, tangents, strict=True)
        ]
    if graph.n_edges:
        with torch.cuda.device_of(x):
            if tangents is None:
                _gradient_kernel[programs](
                    grad, *operands, *index, of_unit, of_x, of_radial, of_weight, graph.n_atoms,
                    NEED_UNIT=need_unit, **options,
                )  # fmt: skip
            else:
                _tangent_kernel[programs](
                    grad, *operands, *changes, *index, m, of_unit, of_x, of_radial, of_weight,
                    graph.n_atoms, **options,
                )  # fmt: skip
    return (
        m,
        of_unit if need_unit or tangents is not None else None,
        of_x,
        fold_pairs(of_radial, graph),
        of_weight.sum(0).t().to(weight.dtype),
    )


def _widest(*operands: Tensor) -> torch.dtype:
    dtype = operands[0].dtype
    for operand in operands[1:]:
        dtype = torch.promote_types(dtype, operand.dtype)
    return dtype


def _slices(graph: Graph) -> int:
    """Programs that share an atom's edges. The mean degree decides: the greatest is on the GPU."""
    return max(1, min(graph.n_edges // (graph.n_atoms * 16), 64))


def _options(unit: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> dict[str, Any]:
    """What the kernels are compiled for: sizes, those of `tl.dot` at least 16, and types."""
    n_channels, rank = weight.shape
    double = _widest(unit, x, radial, weight) == torch.float64
    return {
        "L": radial.shape[1],
        "B": rank,
        "C": n_channels,
        "B_PAD": max(16, triton.next_power_of_2(rank)),
        "C_PAD": max(16, triton.next_power_of_2(n_channels)),
        "TILE": 16,
        "DTYPE": tl.float64 if double else tl.float32,
        "PRECISION": "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32",
        "num_warps": 4,
        "num_stages": 1,
    }


@triton.jit
def _forward_kernel(
    unit, x, radial, weight, reverse, pair, ptr, of_m,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    TILE: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """m_a = Σ_l Σ_b Y_l(c_ab) Z_b[l], for the edges a that leave one atom."""
    w = _rows(weight, tl.minimum(tl.arange(0, C_PAD), C - 1), B, B, B_PAD, DTYPE)
    first, last = tl.load(ptr + tl.program_id(0)), tl.load(ptr + tl.program_id(0) + 1)
    for a0 in range(first + tl.program_id(1) * TILE, last, tl.num_programs(1) * TILE):
        a = a0 + tl.arange(0, TILE)
        u_a = _rows(unit, tl.minimum(a, last - 1), 3, 3, 16, DTYPE)
        m = tl.zeros((TILE, C_PAD), DTYPE)
        for b0 in range(first, last, TILE):
            b = b0 + tl.arange(0, TILE)
            row = tl.minimum(b, last - 1)
            cosine = -_dot_transposed(u_a, _rows(unit, row, 3, 3, 16, DTYPE), "ieee")
            for l in tl.static_range(L):
                y, _, _ = _harmonics(cosine, _meet(a, b, last), l)
                x_b, t_b = _incoming(x, radial, reverse, pair, row, l, L, B, C, w)
                z_b = x_b * _dot_transposed(t_b, w, PRECISION)
                m = tl.dot(y, z_b, m, input_precision=PRECISION, out_dtype=DTYPE)
        _write(of_m, m, a, a < last, C, C)


@triton.jit
def _gradient_kernel(
    grad, unit, x, radial, weight, reverse, pair, ptr,
    of_unit, of_x, of_radial, of_weight, n_atoms, NEED_UNIT: tl.constexpr,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    TILE: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """∂F/∂v_a, ∂F/∂x_a and ∂F/∂T_a of the edges a that leave some atoms, their share of ∂F/∂W."""
    w = _rows(weight, tl.minimum(tl.arange(0, C_PAD), C - 1), B, B, B_PAD, DTYPE)
    f_w = tl.zeros((B_PAD, C_PAD), DTYPE)
    for atom in range(tl.program_id(0), n_atoms, tl.num_programs(0)):
        first, last = tl.load(ptr + atom), tl.load(ptr + atom + 1)
        for a0 in range(first + tl.program_id(1) * TILE, last, tl.num_programs(1) * TILE):
            a = a0 + tl.arange(0, TILE)
            row_a = tl.minimum(a, last - 1)
            u_a = _rows(unit, row_a, 3, 3, 16, DTYPE)
            g_a = _rows(grad, row_a, C, C, C_PAD, DTYPE)
            f_u = tl.zeros((TILE, 16), DTYPE)
            f_x = tl.zeros((TILE, C_PAD), DTYPE)
            for l in tl.static_range(L):
                x_a, t_a = _incoming(x, radial, reverse, pair, row_a, l, L, B, C, w)
                s_a = _dot_transposed(t_a, w, PRECISION)
                v = tl.zeros((TILE, C_PAD), DTYPE)
                for b0 in range(first, last, TILE):
                    b = b0 + tl.arange(0, TILE)
                    row_b = tl.minimum(b, last - 1)
                    u_b = _rows(unit, row_b, 3, 3, 16, DTYPE)
                    g_b = _rows(grad, row_b, C, C, C_PAD, DTYPE)
                    cosine = -_dot_transposed(u_a, u_b, "ieee")
                    y, y1, _ = _harmonics(cosine, _meet(a, b, last), l)
                    v = tl.dot(y, g_b, v, input_precision=PRECISION, out_dtype=DTYPE)
                    if NEED_UNIT:
                        x_b, t_b = _incoming(x, radial, reverse, pair, row_b, l, L, B, C, w)
                        z_b = x_b * _dot_transposed(t_b, w, PRECISION)
                        d = y1 * _symmetric(g_a, x_a * s_a, g_b, z_b, PRECISION)
                        f_u = tl.dot(-d, u_b, f_u, input_precision=PRECISION, out_dtype=DTYPE)
                f_x += v * s_a
                vx = v * x_a
                f_t = tl.dot(vx, w, input_precision=PRECISION, out_dtype=DTYPE)
                _write(of_radial + l * B, f_t, a, a < last, L * B, B)
                f_w = tl.dot(tl.trans(t_a), vx, f_w, input_precision=PRECISION, out_dtype=DTYPE)
            _write(of_x, f_x, tl.load(reverse + row_a), a < last, C, C)
            if NEED_UNIT:
                _write(of_unit, f_u, a, a < last, 3, 3)
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    _write(of_weight + program * B * C, f_w, tl.arange(0, B_PAD), tl.arange(0, B_PAD) < B, C, C)


@triton.jit
def _tangent_kernel(
    grad, unit, x, radial, weight, dunit, dx, dradial, dweight, reverse, pair, ptr,
    of_m, of_unit, of_x, of_radial, of_weight, n_atoms,
    L: tl.constexpr, B: tl.constexpr, C: tl.constexpr, B_PAD: tl.constexpr, C_PAD: tl.constexpr,
    TILE: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What `_forward_kernel` and `_gradient_kernel` give, differentiated along the tangents."""
    channel = tl.minimum(tl.arange(0, C_PAD), C - 1)
    w = _rows(weight, channel, B, B, B_PAD, DTYPE)
    dw = _rows(dweight, channel, B, B, B_PAD, DTYPE)
    f_w = tl.zeros((B_PAD, C_PAD), DTYPE)
    for atom in range(tl.program_id(0), n_atoms, tl.num_programs(0)):
        first, last = tl.load(ptr + atom), tl.load(ptr + atom + 1)
        for a0 in range(first + tl.program_id(1) * TILE, last, tl.num_programs(1) * TILE):
            a = a0 + tl.arange(0, TILE)
            row_a = tl.minimum(a, last - 1)
            u_a = _rows(unit, row_a, 3, 3, 16, DTYPE)
            du_a = _rows(dunit, row_a, 3, 3, 16, DTYPE)
            g_a = _rows(grad, row_a, C, C, C_PAD, DTYPE)
            m = tl.zeros((TILE, C_PAD), DTYPE)
            f_u = tl.zeros((TILE, 16), DTYPE)
            f_x = tl.zeros((TILE, C_PAD), DTYPE)
            for l in tl.static_range(L):
                x_a, t_a = _incoming(x, radial, reverse, pair, row_a, l, L, B, C, w)
                dx_a, dt_a = _incoming(dx, dradial, reverse, pair, row_a, l, L, B, C, w)
                s_a, z_a, ds_a, dz_a = _filtered(x_a, t_a, w, dx_a, dt_a, dw, PRECISION)
                v = tl.zeros((TILE, C_PAD), DTYPE)
                dv = tl.zeros((TILE, C_PAD), DTYPE)
                for b0 in range(first, last, TILE):
                    b = b0 + tl.arange(0, TILE)
                    row_b = tl.minimum(b, last - 1)
                    u_b = _rows(unit, row_b, 3, 3, 16, DTYPE)
                    du_b = _rows(dunit, row_b, 3, 3, 16, DTYPE)
                    g_b = _rows(grad, row_b, C, C, C_PAD, DTYPE)
                    x_b, t_b = _incoming(x, radial, reverse, pair, row_b, l, L, B, C, w)
                    dx_b, dt_b = _incoming(dx, dradial, reverse, pair, row_b, l, L, B, C, w)
                    _, z_b, _, dz_b = _filtered(x_b, t_b, w, dx_b, dt_b, dw, PRECISION)
                    cosine = -_dot_transposed(u_a, u_b, "ieee")
                    change = -_symmetric(u_a, du_a, u_b, du_b, "ieee")
                    y, y1, y2 = _harmonics(cosine, _meet(a, b, last), l)
                    dy, dy1 = y1 * change, y2 * change
                    m = tl.dot(y, dz_b, m, input_precision=PRECISION, out_dtype=DTYPE)
                    m = tl.dot(dy, z_b, m, input_precision=PRECISION, out_dtype=DTYPE)
                    v = tl.dot(y, g_b, v, input_precision=PRECISION, out_dtype=DTYPE)
                    dv = tl.dot(dy, g_b, dv, input_precision=PRECISION, out_dtype=DTYPE)
                    gz = _symmetric(g_a, z_a, g_b, z_b, PRECISION)
                    dgz = _symmetric(g_a, dz_a, g_b, dz_b, PRECISION)
                    d, dd = y1 * gz, dy1 * gz + y1 * dgz
                    f_u = tl.dot(-d, du_b, f_u, input_precision=PRECISION, out_dtype=DTYPE)
                    f_u = tl.dot(-dd, u_b, f_u, input_precision=PRECISION, out_dtype=DTYPE)
                f_x += v * ds_a + dv * s_a
                vx, dvx = v * x_a, v * dx_a + dv * x_a
                f_t = tl.dot(vx, dw, input_precision=PRECISION, out_dtype=DTYPE)
                f_t = tl.dot(dvx, w, f_t, input_precision=PRECISION, out_dtype=DTYPE)
                _write(of_radial + l * B, f_t, a, a < last, L * B, B)
                f_w = tl.dot(tl.trans(dt_a), vx, f_w, input_precision=PRECISION, out_dtype=DTYPE)
                f_w = tl.dot(tl.trans(t_a), dvx, f_w, input_precision=PRECISION, out_dtype=DTYPE)
            _write(of_m, m, a, a < last, C, C)
            _write(of_x, f_x, tl.load(reverse + row_a), a < last, C, C)
            _write(of_unit, f_u, a, a < last, 3, 3)
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    _write(of_weight + program * B * C, f_w, tl.arange(0, B_PAD), tl.arange(0, B_PAD) < B, C, C)


@triton.jit
def _rows(
    data, rows, STRIDE: tl.constexpr, WIDTH: tl.constexpr, PAD: tl.constexpr, DTYPE: tl.constexpr
):
    """(rows, PAD) the first WIDTH numbers of some rows, then zeros.

    Rows past an atom's last edge are the last one again: what is wrong there is left out by `_meet`
    from every sum, and by `_write` from what is written.
    """
    column = tl.arange(0, PAD)
    place = data + rows[:, None] * STRIDE + column[None, :]
    return tl.load(place, mask=(column < WIDTH)[None, :], other=0.0).to(DTYPE)


@triton.jit
def _write(data, value, rows, kept, STRIDE: tl.constexpr, WIDTH: tl.constexpr):
    """Store the first WIDTH columns of the rows that are kept."""
    column = tl.arange(0, value.shape[1])
    place = data + rows[:, None] * STRIDE + column[None, :]
    tl.store(place, value, mask=kept[:, None] & (column < WIDTH)[None, :])


@triton.jit
def _incoming(
    x, radial, reverse, pair, rows, l: tl.constexpr, L: tl.constexpr, B: tl.constexpr,
    C: tl.constexpr, w,
):  # fmt: skip
    """Features x_k (rows, C) and radial factor T_k[l] (rows, B) of the edges k→j, padded as w is."""
    x_k = _rows(x, tl.load(reverse + rows), C, C, w.shape[0], w.dtype)
    t_k = _rows(radial + l * B, tl.load(pair + rows), L * B, B, w.shape[1], w.dtype)
    return x_k, t_k


@triton.jit
def _filtered(x, t, w, dx, dt, dw, PRECISION: tl.constexpr):
    """S = T Wᵀ and Z = x S of one order, and their tangents."""
    s = _dot_transposed(t, w, PRECISION)
    ds = _symmetric(t, dt, w, dw, PRECISION)
    return s, x * s, ds, dx * s + x * ds


@triton.jit
def _dot_transposed(a, b, PRECISION: tl.constexpr):
    """A bᵀ."""
    return tl.dot(a, tl.trans(b), input_precision=PRECISION, out_dtype=a.dtype)


@triton.jit
def _symmetric(a, da, b, db, PRECISION: tl.constexpr):
    """A dbᵀ + da bᵀ."""
    c = _dot_transposed(a, db, PRECISION)
    return tl.dot(da, tl.trans(b), c, input_precision=PRECISION, out_dtype=a.dtype)


@triton.jit
def _meet(a, b, last):
    """(a, b) whether two edges make a triplet: they are two, and both of this atom."""
    return (a[:, None] != b[None, :]) & (a < last)[:, None] & (b < last)[None, :]


@triton.jit
def _harmonics(cosine, kept, l: tl.constexpr):
    """Y_l, Y_l' and Y_l'' of the cosine, zero where it is not kept.

    By ``l P_l = (2l−1) c P_{l−1} − (l−1) P_{l−2}``, ``P_l' = c P'_{l−1} + l P_{l−1}`` and
    ``P_l'' = c P''_{l−1} + (l+1) P'_{l−1}``, all linear: P_0 brings in the norm, and the zeros.
    """
    p = kept.to(cosine.dtype) * ((2 * l + 1) / (4 * 3.141592653589793)) ** 0.5
    before = tl.zeros_like(cosine)
    p1, p2 = before, before
    for n in tl.static_range(1, l + 1):
        p2 = cosine * p2 + (n + 1) * p1
        p1 = cosine * p1 + n * p
        next = (2 - 1 / n) * cosine * p - (1 - 1 / n) * before
        before = p
        p = next
    return p, p1, p2
