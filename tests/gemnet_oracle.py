"""GemNet in loops over atoms, from the paper's equations: slow, with a model's weights."""

import math
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import lpmv, spherical_jn


def silu(x):
    return x / (1 + np.exp(-x)) / 0.6


@cache
def zero(l, n):
    """The n-th zero of j_l, from 1; zeros of j_l lie between those of j_{l−1}."""
    if l == 0:
        return n * math.pi
    return brentq(lambda x: spherical_jn(l, x), zero(l - 1, n), zero(l - 1, n + 1), xtol=1e-14)


@cache
def bessel(l, n, d, cutoff):
    norm = math.sqrt(2 / (cutoff**3 * spherical_jn(l + 1, zero(l, n)) ** 2))
    return norm * spherical_jn(l, zero(l, n) * d / cutoff)


def harmonic(l, m, theta, phi):
    """The real spherical harmonic Y_lm of m ≥ 0, by its polar angle and its azimuth."""
    ratio = math.factorial(l - m) / math.factorial(l + m) * (2 if m else 1)
    legendre = (-1) ** m * lpmv(m, l, math.cos(theta))  # without the Condon–Shortley phase
    return math.sqrt((2 * l + 1) / (4 * math.pi) * ratio) * legendre * math.cos(m * phi)


def angle(u, v):
    return math.atan2(np.linalg.norm(np.cross(u, v)), u @ v)


def dihedral(c, a, b, d):
    """About a–b, from c to d: zero if they are on one side; zero if there is none."""
    first, second = np.cross(c - a, b - a), np.cross(a - b, d - b)
    is_line = min(np.linalg.norm(first), np.linalg.norm(second)) < 1e-10
    return 0.0 if is_line else angle(first, second)


class Oracle:
    """One molecule."""

    def __init__(self, model, z, pos):
        self.w = {name: value.double().numpy() for name, value in model.state_dict().items()}
        self.c, self.z, self.pos = model.config, z.tolist(), pos.detach().numpy()
        n = range(len(self.z))
        self.near = {a: [b for b in n if b != a and self.d(a, b) < self.c.cutoff] for a in n}
        self.edges = [(c, a) for a in n for c in self.near[a]]  # c→a

    def d(self, a, b):
        return np.linalg.norm(self.pos[a] - self.pos[b])

    def dense(self, name, x):
        return self.w[f"{name}.weight"] @ x

    def active(self, name, x):
        return silu(self.dense(name, x))

    def factor(self, name):
        return self.w[f"{name}.scaling.factor"]

    def residuals(self, name, x):
        k = 0
        while f"{name}.{k}.dense1.weight" in self.w:
            inner = self.active(f"{name}.{k}.dense2", self.active(f"{name}.{k}.dense1", x))
            x, k = (x + inner) / math.sqrt(2), k + 1
        return x

    def envelope(self, d, cutoff):
        p, x = self.c.envelope_exponent + 1, d / cutoff
        terms = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
        return 1 - terms[0] * x**p + terms[1] * x ** (p + 1) - terms[2] * x ** (p + 2)

    def rbf(self, c, a):
        d, cutoff = self.d(c, a), self.c.cutoff
        waves = np.sin(self.w["radial.frequencies"] * d / cutoff) / d
        return math.sqrt(2 / cutoff) * waves * self.envelope(d, cutoff)

    def bessel(self, l, n, d, cutoff):
        return bessel(l, n, d, cutoff) * self.envelope(d, cutoff)

    def cbf(self, name, d, phi, cutoff):
        """The embedded basis of an angle."""
        c = self.c
        basis = [
            self.bessel(l, n, d, cutoff) * harmonic(l, 0, phi, 0.0)
            for l in range(c.n_spherical)
            for n in range(1, c.n_radial + 1)
        ]
        return self.dense(name, np.array(basis))

    def source(self, name, shared, m):
        """Messages before they are summed, of each edge."""
        found = {}
        for c, a in self.edges:
            scale = self.dense(f"{name}.rbf", self.dense(shared, self.rbf(c, a)))
            product = self.active(f"{name}.dense", m[c, a]) * scale * self.factor(name)
            found[c, a] = self.active(f"{name}.down", product)
        return found

    def symmetric(self, name, x):
        """The update of each edge by what both of its directions have."""
        return {
            (c, a): (
                self.active(f"{name}.symmetric.along", x[c, a])
                + self.active(f"{name}.symmetric.against", x[a, c])
            )
            / math.sqrt(2)
            for c, a in self.edges
        }

    def triplets(self, name, m):
        x, found = self.source(f"{name}.source", "of_triplets", m), {}
        for c, a in self.edges:
            total = 0.0
            for b in self.near[a]:
                if b != c:
                    phi = angle(self.pos[c] - self.pos[a], self.pos[b] - self.pos[a])
                    basis = self.cbf("circular", self.d(c, a), phi, self.c.cutoff)
                    total = total + np.outer(basis, x[b, a]).ravel()
            zeros = np.zeros(self.w[f"{name}.bilinear.weight"].shape[1])
            found[c, a] = self.dense(f"{name}.bilinear", zeros + total) * self.factor(name)
        return self.symmetric(name, found)

    def concat(self, name, h, x):
        return {
            (c, a): self.active(f"{name}.dense", np.concatenate([h[c], h[a], x[c, a]]))
            for c, a in self.edges
        }

    def atom_sum(self, name, shared, m):
        found = []
        for a in range(len(self.z)):
            total = np.zeros(self.c.edge_emb)
            for c in self.near[a]:
                total += m[c, a] * self.dense(f"{name}.rbf", self.dense(shared, self.rbf(c, a)))
            x = self.active(f"{name}.dense", total * self.factor(name))
            found.append(self.residuals(f"{name}.layers", x))
        return np.array(found)

    def sbf(self, d, phi, theta, sine):
        """The embedded basis of two angles; ``sine`` is that of φ_abd, one in the paper."""
        basis = [
            self.bessel(l, n, d, self.c.cutoff) * harmonic(l, m, phi, theta) * sine**m
            for m in range(self.c.n_spherical)
            for l in range(m, self.c.n_spherical)
            for n in range(1, self.c.n_radial + 1)
        ]
        return self.dense("spherical_emb", np.array(basis))

    def quadruplets(self, name, m):
        x, found = self.source(f"{name}.source", "of_quadruplets", m), {}
        n, pos, reach = range(len(self.z)), self.pos, self.c.int_cutoff
        for c, a in self.edges:
            total = np.zeros(self.w[f"{name}.bilinear.weight"].shape[1])
            for b in n:
                if b in (a, c) or self.d(a, b) >= reach:
                    continue
                for d in self.near[b]:
                    if d in (a, c):
                        continue
                    phi = angle(pos[a] - pos[b], pos[d] - pos[b])
                    circular = self.cbf("hop_emb", self.d(a, b), phi, reach)
                    message = x[d, b] * self.dense(f"{name}.cbf", circular)
                    theta = dihedral(pos[c], pos[a], pos[b], pos[d])
                    phi_cab = angle(pos[c] - pos[a], pos[b] - pos[a])
                    sine = math.sin(phi) if self.c.smooth else 1.0
                    basis = self.sbf(self.d(c, a), phi_cab, theta, sine)
                    total += np.outer(basis, message).ravel()
            found[c, a] = self.dense(f"{name}.bilinear", total) * self.factor(name)
        return self.symmetric(name, found)

    def passings(self, name, m):
        """What is added to the messages."""
        found = [self.triplets(f"{name}.passings.0", m)]
        if hasattr(self.c, "int_cutoff"):
            found.append(self.quadruplets(f"{name}.passings.1", m))
        return found

    def energy(self):
        return sum(self.output(f"outputs.{k}", m) for k, m in enumerate(self.messages()))

    def forces(self):
        """Direct forces: each pair's along the line between both atoms."""
        found = np.zeros_like(self.pos)
        for k, m in enumerate(self.messages()):
            along = {e: self.pull(f"forces.{k}", e, m[e]) for e in self.edges}
            for c, a in self.edges:
                mean = (along[c, a] + along[a, c]) / 2
                found[a] += mean * (self.pos[a] - self.pos[c]) / self.d(c, a)
        return found

    def pull(self, name, edge, m):
        x = self.residuals(f"{name}.layers", self.active(f"{name}.dense", m))
        x = x * self.dense(f"{name}.rbf", self.dense("of_outputs", self.rbf(*edge)))
        return self.dense(f"{name}.last", x * self.factor(name))

    def messages(self):
        """Those of each edge, after the embedding and after each block."""
        h = np.array([self.w["elements.weight"][z] for z in self.z])
        m = self.concat("embedding", h, {(c, a): self.rbf(c, a) for c, a in self.edges})
        yield m
        for k in range(self.c.n_blocks):
            name = f"interactions.{k}"
            terms = self.passings(name, m)
            for e in self.edges:
                x = self.active(f"{name}.own", m[e]) + sum(term[e] for term in terms)
                x = self.residuals(f"{name}.before_skip", x / math.sqrt(1 + len(terms)))
                terms[0][e] = self.residuals(f"{name}.after_skip", (m[e] + x) / math.sqrt(2))
            m = terms[0]
            h = (h + self.atom_sum(f"{name}.to_atoms", "of_atoms", m)) / math.sqrt(2)
            joined = self.concat(f"{name}.concat", h, m)
            m = {
                e: (m[e] + self.residuals(f"{name}.after_concat", joined[e])) / math.sqrt(2)
                for e in self.edges
            }
            yield m

    def output(self, name, m):
        atoms = self.atom_sum(f"{name}.sum", "of_outputs", m)
        return sum(self.dense(f"{name}.last", atom) for atom in atoms)
