"""What each language defines, and where: small files as people write them, and any text at all."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from textwrap import dedent
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index.chunk import MAX_CHARS, MAX_LINE_CHARS, MAX_PIECES, Chunk, chunk
from cidx_ref.index.languages import LANGUAGES as LANGUAGE_NAMES
from cidx_ref.index.layout import MAX_LINES
from cidx_ref.index.outlines import OUTLINED, WRITTEN_IN, outline_of, syntax_of
from cidx_ref.index.structure import INNER, KINDS, OWNER, Outline
from cidx_ref.index.syntax import any_of

pytestmark = pytest.mark.once


class Sample(NamedTuple):
    """A text, its definitions as "kind name first-last", and the names that it defines beside
    those of its definitions."""

    text: str
    definitions: str
    more: str = ""


SAMPLES = {
    "c": Sample(
        r"""
/* Licence */
#include <a.h>
#define MAX 3
#define FOO(a) \
    do { a; } while (0)

struct foo {
	int a;
	struct bar *b;
};
typedef struct {
	int y;
} Point;
typedef int (*cb)(int);
typedef unsigned long u64;
enum color { RED, GREEN };
enum {
	ONE,
	TWO = 2,
};
static int helper(void);
extern int g;
static const char *names[] = {
	"a",
};
int counter = 0;

/*
 * Start it.
 */
static int
start_it(struct foo *f,
    int b)
{
	if (b) {
		return 1;
	}
	return 0;
}
int main(int argc, char **argv) {
    return 0;
}
""",
        """
macro MAX 3-3
macro FOO 4-5
struct foo 7-10
struct Point 11-13
type cb 14-14
type u64 15-15
enum color 16-16
constant names 23-25
variable counter 26-26
function start_it 28-39
function main 40-42
""",
        "a b y RED GREEN ONE TWO",
    ),
    "cmake": Sample(
        r"""
project(x)
option(WITH_X "x" ON)
function(my_func a)
  set(x 1)
endfunction()
macro(my_macro)
  foo()
endmacro()
add_executable(tool
  a.c
  b.c)
add_library(lib STATIC a.c)
""",
        """
variable WITH_X 2-2
function my_func 3-5
function my_macro 6-8
target tool 9-11
target lib 12-12
""",
        "",
    ),
    "dockerfile": Sample(
        r"""
ARG BASE=3
FROM python:3 AS build-stage
RUN make \
  && x
ENV FOO=1
FROM build-stage
COPY a b
FROM x as final
""",
        """
variable BASE 1-1
stage build-stage 2-5
variable build-stage.FOO 5-5
stage final 8-8
""",
        "",
    ),
    "graphql": Sample(
        r"""
# A type.
type User implements Node @key(fields: "id") {
  id: ID!
  posts(first: Int): [Post]
}
enum Role { ADMIN USER }
enum Mode {
  FAST
  SLOW
}
union Thing = User | Post
scalar Date
directive @auth(role: Role) on FIELD
query GetUser($id: ID) {
  user(id: $id) { id }
}
""",
        """
type User 1-5
enum Role 6-6
enum Mode 7-10
type Thing 11-11
type Date 12-12
function auth 13-13
function GetUser 14-16
""",
        "\tid \tposts ADMIN FAST SLOW",
    ),
    "hcl": Sample(
        r"""
resource "aws_instance" "web" {
  ami = "x"
}
data "aws_ami" "ubuntu" {
  x = 1
}
module "vpc" {
  source = "x"
}
variable "region" {}
locals {
  tags = {}
}
""",
        """
resource aws_instance.web 1-3
resource aws_ami.ubuntu 4-6
module module.vpc 7-9
variable region 10-10
""",
        "\ttags",
    ),
    "makefile": Sample(
        r"""
CC ?= gcc
SRCS = a.c \
	b.c
.PHONY: all
# All of it.
all: build test

build: $(OBJS)
	$(CC) -o x $^;
	echo done
install-data:
	cp x y
%.o: %.c
	cc $<
define RUN
echo
endef
ifeq ($(X),1)
check-all:
	run
endif
""",
        """
variable CC 1-1
variable SRCS 2-4
target all 5-6
target build 8-9
target install-data 11-12
function RUN 15-15
target check-all 19-20
""",
        "",
    ),
    "protobuf": Sample(
        r"""
syntax = "proto3";
// A message.
message Foo {
  string name = 1;
  repeated Bar bars = 2;
  message Inner { int32 a = 1; }
  oneof kind {
    string one = 3;
  }
}
enum Kind {
  KIND_A = 0;
}
service Greeter {
  rpc SayHello (Foo) returns (Bar);
  rpc Stream (Foo) returns (stream Bar) {
    option x = 1;
  }
}
""",
        """
message Foo 2-10
message Foo.Inner 6-6
enum Kind 11-13
service Greeter 14-19
method Greeter.SayHello 15-15
method Greeter.Stream 16-18
""",
        "\tname \tbars \ta KIND_A",
    ),
    "cpp": Sample(
        r"""
namespace leveldb {
// A database.
class DBImpl : public DB {
 public:
  using Ptr = DBImpl*;
  DBImpl(const Options& o);
  ~DBImpl() override;
  Status Peek(int a) { return x; }
  virtual void Close() = 0;
 private:
  int x_;
};
DBImpl::DBImpl(const Options& o)
    : x_(1),
      y_(2) {
  foo();
}
template <typename T>
Status DBImpl::Get(const std::vector<T>& a) const {
  return 1;
}
bool operator==(const A& a, const B& b) { return true; }
TEST(Foo, Bar) {
  x();
}
constexpr int kMax = 3;
using Foo = std::map<int, int>;
T* Ptr::operator->() const { return p; }
}  // namespace
""",
        """
class DBImpl 2-12
type DBImpl.Ptr 5-5
method DBImpl.Peek 8-8
method DBImpl.DBImpl 13-17
method DBImpl.Get 18-21
function operator== 22-22
test Foo.Bar 23-25
constant kMax 26-26
type Foo 27-27
method Ptr.operator-> 28-28
""",
        "Close",
    ),
    "csharp": Sample(
        r"""
using System;
namespace A.B
{
    /// <summary>x</summary>
    [Serializable]
    public class Foo<T> : Bar where T : class
    {
        public const int Max = 3;
        private int _x;
        public string Name { get; set; }
        public int Y => 3;
        public Foo(int a) : base(a)
        {
            x();
        }
        public async Task<int> Go(int a)
        {
            return 1;
        }
        int Short() => 3;
        enum K { A, B }
    }
}
""",
        """
class Foo 4-22
constant Foo.Max 8-8
field Foo._x 9-9
field Foo.Name 10-10
field Foo.Y 11-11
method Foo.Foo 12-15
method Foo.Go 16-19
method Foo.Short 20-20
enum Foo.K 21-21
""",
        "A B",
    ),
    "elixir": Sample(
        r'''
defmodule My.Server do
  @moduledoc """
  Doc
  """
  @timeout 5000
  @type t :: integer
  @doc """
  Starts.
  """
  @spec start(integer) :: :ok
  def start(0), do: :ok
  def start(n) do
    n
  end
  defp helper(a) do
    a
  end
  defmacro mac(a) do
    a
  end
  defstruct [:a]
end
''',
        """
module My.Server 1-22
constant My.Server.timeout 5-5
type My.Server.t 6-6
function My.Server.start 7-14
function My.Server.helper 15-17
macro My.Server.mac 18-20
""",
    ),
    "go": Sample(
        r"""
package server

import "x"

// MaxSize is
// large.
const MaxSize = 3

const (
	// A is
	A = iota
	B
)

// Server serves.
type Server struct {
	Name string
	mu   sync.Mutex
}

type Handler interface {
	Handle(x int) error
}

// Start starts.
func (s *Server) Start(ctx context.Context,
	x int,
) error {
	if x {
		return nil
	}
	return foo(func() {
	})
}

func ParseFile(path string) (*Config, error) { return nil, nil }

type ID = string
var x = map[string]int{
	"a": 1,
}
""",
        """
constant MaxSize 5-7
struct Server 15-19
interface Handler 21-23
method Server.Start 25-34
function ParseFile 36-36
type ID 38-38
variable x 39-41
""",
        "A B Name mu Handle",
    ),
    "haskell": Sample(
        r"""
module Foo where
import X
-- | doc
data Foo = A | B
  deriving (Show)
data R = R
  { rName :: String
  , rAge :: Int
  }
type M = Int
class Shape a where
  area :: a -> Double
instance Shape Foo where
  area _ = 1
-- | Parse it
parseConfig :: String -> Int
parseConfig "" = 0
parseConfig x = go x
  where
    go = 1

maxSize = 3
(<+>) :: a -> a
a <+> b = a
""",
        """
type Foo 3-5
type R 6-9
type M 10-10
interface Shape 11-12
impl Foo 13-14
function parseConfig 15-20
function maxSize 22-22
function <+> 23-23
""",
        "rAge",
    ),
    "java": Sample(
        r"""
package a;
import b;
/** Doc */
@Foo(a = 1)
public final class Server<T> extends Base implements X {
    private static final int MAX = 3;
    private int x;
    public Server(int a) {
        this.x = a;
    }
    /** doc */
    @Override
    public <R> Map<String, R> start(int a,
            int b) throws IOException {
        return foo(new X() {
            public void run() { }
        });
    }
    int getX() { return x; }
    abstract void foo();
    enum Kind { A, B }
    interface In {
        void go(int a);
    }
}
""",
        """
class Server 3-25
constant Server.MAX 6-6
field Server.x 7-7
method Server.Server 8-10
method Server.start 11-18
method Server.getX 19-19
method Server.foo 20-20
enum Server.Kind 21-21
interface Server.In 22-24
method Server.In.go 23-23
""",
        "A B \trun",
    ),
    "javascript": Sample(
        r"""
const fs = require('fs');
const MAX = 3;
/** doc */
export const add = async (a, b) => {
  return a + b;
};
export default class Foo extends Bar {
  #x = 1;
  static y = () => {
    return 1;
  };
  constructor(a) {
    if (a) {
      b();
    }
  }
  get z() { return 1; }
  async go(a) {
  }
}
function plain() {
}
exports.x = function (a) {
  return 1;
};
module.exports = {
  meta: 1,
  create(context) {
    return {
      Foo() {}
    };
  },
  other: function () {
    1
  },
  third: (a) => a,
};
Foo.prototype.bar = function () {
};
foo(1);
if (x) {
  y(z);
}
""",
        """
constant MAX 2-2
function add 3-6
class Foo 7-20
field Foo.x 8-8
method Foo.y 9-11
method Foo.constructor 12-16
method Foo.z 17-17
method Foo.go 18-19
function plain 21-22
function x 23-25
function create 28-32
function other 33-35
function third 36-36
method Foo.bar 38-39
""",
        "\tmeta",
    ),
    "kotlin": Sample(
        r"""
package a
const val MAX = 3
/** Doc */
@Foo
data class User(
    val name: String,
) : Base() {
    private val x = 1
    companion object {
        fun of(): User = User("a")
    }
    override suspend fun go(a: Int): Int {
        return 1
    }
}
fun String.shout() = uppercase()
sealed interface A
enum class Color { RED, GREEN }
object Single {
    fun x() {}
}
typealias H = Map<String, Int>
""",
        """
constant MAX 2-2
class User 3-15
variable User.x 8-8
method User.of 10-10
method User.go 12-14
method String.shout 16-16
interface A 17-17
enum Color 18-18
class Single 19-21
method Single.x 20-20
type H 22-22
""",
        "RED GREEN",
    ),
    "lua": Sample(
        r"""
local M = {}
--- doc
-- more
function M.start(a, b)
  if a then
    return 1
  end
end
local function helper() return 1 end
M.x = function(a)
  return 2
end
function Foo:bar()
end
local MAX = 3
local t = {
  a = 1,
}
return M
""",
        """
variable M 1-1
method M.start 2-8
function helper 9-9
method M.x 10-12
method Foo.bar 13-14
variable MAX 15-15
variable t 16-18
""",
    ),
    "markdown": Sample(
        r"""
# The `guide`

Text.

## Setting up #

```sh
# no heading
```

Older
-----

### Deep [link](x.md)

Text
""",
        """
heading The guide 1-17
heading The guide > Setting up 5-10
heading The guide > Older 11-17
heading The guide > Older > Deep link 14-17
""",
    ),
    "perl": Sample(
        r"""
#!/usr/bin/perl
package Git::SVN::Log;
use strict;
use constant COMMIT => 1;
use constant {
    OPEN => 1,
    SHUT => 2,
};
our $VERSION = '1.0';
my @kept = (
    'a',
);

=item run_pager ( FILE )

Runs it.
sub documented {

=cut

sub run_pager {
    my $x = shift;
    return $x;
}
# Quick.
sub quick { 1 }
sub declared;
sub Other::given
{
    call(sub { 2 });
}
*alias = \&quick;
*{'made'} = sub {
    1;
};
has name => (
    is => 'ro',
);
package Git::SVN::Box {
    sub lift { 2 }
}
package main;
sub last_of_all {
    1;
}
""".replace("\\\\", "\\"),
        """
module Git.SVN.Log 1-41
constant Git.SVN.Log.COMMIT 4-4
variable Git.SVN.Log.VERSION 9-9
variable Git.SVN.Log.kept 10-12
function Git.SVN.Log.run_pager 14-24
function Git.SVN.Log.quick 25-26
method Git.SVN.Log.Other.given 28-31
function Git.SVN.Log.alias 32-32
function Git.SVN.Log.made 33-35
field Git.SVN.Log.name 36-38
module Git.SVN.Box 39-41
function Git.SVN.Box.lift 40-40
function last_of_all 43-45
""",
        "OPEN SHUT",
    ),
    "php": Sample(
        r"""
<?php
namespace A\B;
const FOO = 1;
define('BAR', 2);
/**
 * doc
 */
final class Logger implements X
{
    public const DEBUG = 100;
    protected string $name;
    #[Foo]
    public function add(
        int $a
    ): bool {
        return true;
    }

    abstract protected function x(): int;
    private static function b() { return 1; }
}
function helper($a) {
    return 1;
}
enum Suit: string {
    case Hearts = 'H';
}
""",
        """
constant FOO 3-3
constant BAR 4-4
class Logger 5-21
constant Logger.DEBUG 10-10
field Logger.name 11-11
method Logger.add 12-17
method Logger.x 19-19
method Logger.b 20-20
function helper 22-24
enum Suit 25-27
""",
        "Hearts",
    ),
    "python": Sample(
        r"""
import os

LIMIT = 3

# About it.
@decorated
class Server(Base):
    port: int = 1

    def start(self):
        pass

async def main():
    pass
""",
        """
class Server 5-11
method Server.start 10-11
function main 13-14
""",
        "LIMIT port",
    ),
    "ruby": Sample(
        r"""
# frozen
module Jekyll
  # doc
  class Site < Base
    MAX = 3
    attr_accessor :name, :b
    LIST = %w(
      a
    ).freeze

    # c
    def initialize(a)
      if a
        1
      end
    end

    def self.make; end
    def ok? = true
    class << self
      def inner
        1
      end
    end
    private
    def [](a)
      1
    end
  end
end
def top
end
""",
        """
module Jekyll 1-30
class Jekyll.Site 3-29
constant Jekyll.Site.MAX 5-5
field Jekyll.Site.name 6-6
constant Jekyll.Site.LIST 7-9
method Jekyll.Site.initialize 11-16
method Jekyll.Site.make 18-18
method Jekyll.Site.ok? 19-19
method Jekyll.Site.inner 21-23
method Jekyll.Site.[] 26-28
function top 31-32
""",
    ),
    "rust": Sample(
        r"""
//! mod
use x;

/// Doc
#[derive(Debug)]
pub struct Foo<T> {
    pub a: u32,
    b: T,
}

impl<T: Foo<U>> Bar<T> for Foo<T>
where
    T: X,
{
    const N: usize = 3;
    /// makes
    pub fn new(
        a: u32,
    ) -> Self {
        Self { a }
    }
    fn get(&self) -> u32 { self.a }
}

pub(crate) enum E { One, Two }
enum F {
    Three(u32),
    /// c
    Four { x: u32 },
}
macro_rules! foo {
    () => {};
}
pub const MAX: usize = 3;
mod tests {
    #[test]
    fn works() {
        assert!(true);
    }
}
""",
        """
struct Foo 4-9
impl Foo 11-23
constant Foo.N 15-15
method Foo.new 16-21
method Foo.get 22-22
enum E 25-25
enum F 26-30
macro foo 31-33
constant MAX 34-34
module tests 35-40
function tests.works 36-39
""",
        "a b One Two Three Four",
    ),
    "scala": Sample(
        r"""
package x
object Main extends App {
  val MAX = 3
  def run(a: Int): Int = {
    1
  }
  def one = 1
}
case class A(b: Int) {
  def m(): Unit =
    println(1)
}
trait T:
  def x: Int
  def y: Int =
    3
enum C:
  case Red, Green
""",
        """
module Main 2-8
constant Main.MAX 3-3
function Main.run 4-6
function Main.one 7-7
class A 9-12
method A.m 10-11
trait T 13-16
method T.x 14-14
method T.y 15-16
enum C 17-18
""",
        "Red Green",
    ),
    "shell": Sample(
        r"""
#!/bin/bash
set -e
MAX=3
readonly FOO=1
# doc
start_it() {
  if x; then
    y
  fi
}
function other {
  z
}
function third() {
  a=1
}
local_thing ()
{
  b
}
""",
        """
variable MAX 3-3
constant FOO 4-4
function start_it 5-10
function other 11-13
function third 14-16
function local_thing 17-20
""",
    ),
    "sql": Sample(
        r"""
-- users
CREATE TABLE IF NOT EXISTS users (
  id INT PRIMARY KEY,
  name TEXT,
  PRIMARY KEY (id)
);
create index idx_a on users(id);
CREATE OR REPLACE FUNCTION app.touch(a int) RETURNS trigger AS $$
BEGIN
  x;
END;
$$ LANGUAGE plpgsql;
CREATE VIEW v AS
SELECT 1;
""",
        """
table users 1-6
variable idx_a 7-7
function app.touch 8-12
table v 13-14
""",
        "id name",
    ),
    "swift": Sample(
        r"""
/// A
public struct P: Q {
    let a: Int
    var b: Int { 1 }
    init(a: Int) {
        self.a = a
    }
    static func make() -> P {
        P(a: 1)
    }
}
extension P {
    func more() {}
}
enum E { case a, b
    case c(Int)
}
protocol Proto { func go() }
protocol Proto2 {
    func go(a: Int) -> Int
    var x: Int { get }
}
let kMax = 3
""",
        """
struct P 1-11
constant P.a 3-3
variable P.b 4-4
method P.init 5-7
method P.make 8-10
impl P 12-14
method P.more 13-13
enum E 15-17
interface Proto 18-18
interface Proto2 19-22
method Proto2.go 20-20
variable Proto2.x 21-21
constant kMax 23-23
""",
        "c",
    ),
    "typescript": Sample(
        r"""
export interface Opt {
  a: string;
  b?(x: number): void;
}
export type T = {
  a: 1;
};
type U = 'a' | 'b';
export enum Color { Red, Green }
export abstract class A<T> implements B {
  private readonly _x: number = 1;
  public abstract go(): void;
  constructor(
    @IFoo private readonly foo: IFoo,
  ) {
    super();
  }
  public get foo(): string { return 1; }
  protected run<T>(a: T): Promise<void> {
    return x;
  }
}
function over(a: string): void;
function over(a: number): void;
function over(a: any) {
  return 1;
}
declare module 'x' {
  function y(): void;
}
""",
        """
interface Opt 1-4
method Opt.b 3-3
type T 5-7
type U 8-8
enum Color 9-9
class A 10-22
field A._x 11-11
method A.go 12-12
method A.constructor 13-17
method A.foo 18-18
method A.run 19-21
function over 23-23
function over 24-24
function over 25-27
function y 29-29
""",
        "a Red Green",
    ),
    "zig": Sample(
        r"""
const std = @import("std");
/// doc
pub const Foo = struct {
    a: u32,
    pub fn init(a: u32) Foo {
        return .{ .a = a };
    }
};
pub const Err = error{ A, B };
const max: usize = 3;
pub fn main() !void {
    x();
}
test "works well" {
    x();
}
""",
        """
struct Foo 2-8
method Foo.init 5-7
enum Err 9-9
constant max 10-10
function main 11-13
test works well 14-16
""",
        "a",
    ),
}


def test_there_is_a_sample_of_every_language() -> None:
    assert {*SAMPLES, "cuda"} == OUTLINED  # which is outlined as C++ is
    assert set(LANGUAGE_NAMES) >= OUTLINED
    for language in OUTLINED:
        assert outline_of(language, "", [""]) == Outline([], [])


def test_no_pattern_is_compiled_where_no_file_is_cut() -> None:
    """A daemon, and a client, load what reads an index, and not what makes one."""
    code = "import sys, cidx_ref.index.source; print([m for m in sys.modules if 'heads_' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def outline(language: str, text: str) -> Outline:
    found = outline_of(language, text, text.split("\n"))
    assert found is not None
    return found


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_definitions_are_known_with_their_kinds_lines_and_comments(language: str) -> None:
    text, definitions, more = SAMPLES[language]
    found = outline(language, text.lstrip("\n"))
    assert [
        f"{each.kind} {each.name} {each.start + 1}-{each.end}" for each in found.definitions
    ] == definitions.strip().split("\n")
    joint = " > " if language == "markdown" else "."
    names = {each.name.rpartition(joint)[2] for each in found.definitions if each.kind != "impl"}
    keys = {INNER + name: name for name in names}  # which are asked for less
    said = {keys.get(name, name) for _, name in found.names}
    assert said == names | set(filter(None, more.split(" ")))
    assert {each.kind for each in found.definitions} <= set(KINDS)
    assert [line for line, _ in found.names] == sorted(line for line, _ in found.names)


def _defined(language: str, text: str) -> list[str]:
    return [name for piece in chunk(text, language) for name in piece.defines]


@pytest.mark.parametrize("language", ["java", "csharp", "cpp", "typescript", "php", "kotlin"])
def test_a_tab_among_spaces_hides_nothing(language: str) -> None:
    declared = {"typescript": "{}() {{", "php": "function {}() {{", "kotlin": "fun {}() {{"}
    head = declared.get(language, "void {}() {{")
    heads = [head.format(name) for name in ("one", "two", "three")]
    text = (
        "class Box {\n\t%s\n        call();\n    }\n    %s\n        call();\n    }\n\t%s\n\t}\n}\n"
    )
    found = outline(language, text % tuple(heads))
    spans = [(each.name.rpartition(".")[2], each.start, each.end) for each in found.definitions]
    assert spans == [("Box", 0, 10), ("one", 1, 4), ("two", 4, 7), ("three", 7, 9)]


#: What is defined within the function `outer`: the names, and the text.
WITHIN = {
    "javascript": (
        "prepare added lift $drop",
        """
function outer (options) {
  // function commented (a) {
  function prepare ({ method }) {
    return 1
  }

  async function* added() {
    call(function () {})
  }
  Box.prototype.lift = async function (a) {
  }
  vm.$drop = (a, b) => made(a)
  vm.count = count
  vm.text = call(function () {})
}
""",
    ),
    "perl": (
        "lift",
        """
sub outer {
    my $text = shift;
    # sub commented {
    my sub lift {
        return 1;
    }
    call(sub { 2 });
}
""",
    ),
    "python": (
        "deco inner Local hook",
        """
def outer():
    \"\"\"Such as:

    def example(): pass
    \"\"\"
    text = \"\"\"
    def in_a_string():
    \"\"\"
    def deco(function):
        @wraps(function)
        async def inner(*args):
            return text
        return inner
    class Local(Base):
        def hook(self):
            return 1
    return deco
""",
    ),
    "rust": (
        "helper Seen read",
        """
fn outer() {
    // fn commented() {}
    fn helper(a: u8) -> u8 { a }
    struct Seen { a: u8 }
    impl Seen {
        pub(crate) async fn read<T>(&self) {}
    }
    let fnord = Fn::call(helper);
}
""",
    ),
    "zig": (
        "init Node",
        """
pub fn outer(comptime T: type) type {
    return struct {
        const Node = struct { data: T };
        pub fn init(allocator: Allocator) !Self {
            return try init(allocator);
        }
    };
}
""",
    ),
    "kotlin": (
        "getName helper Local",
        """
fun outer() {
    val one = object : Named {
        override fun getName(): String? {
            return null
        }
    }
    fun <T> helper(a: T) = a
    class Local(val a: Int)
    run(fun(a: Int) { })
}
""",
    ),
    "swift": (
        "helper Local",
        """
func outer() {
    func helper(_ a: Int) -> Int {
        return a
    }
    struct Local {
        let a: Int
    }
    call(helper)
}
""",
    ),
    "scala": (
        "helper Local",
        """
object Box {
  def outer(): Int = {
    @tailrec
    def helper(a: Int): Int =
      helper(a - 1)
    case class Local(a: Int)
    helper(1)
  }
}
""",
    ),
    "java": (
        "onClick Local",
        """
class Box {
    void outer() {
        button.listen(new Listener() {
            @Override
            public void onClick(View v) throws Oops {
                run(v);
            }
        });
        final class Local { }
        return done(public_(x));
    }
}
""",
    ),
    "cpp": (
        "writer Reader stat view",
        """
int outer() {
  using view = std::string_view;
  struct writer {
    int a;
  };
  class Reader final : public Base {
  };
  struct writer w = make(a);
  struct stat {};
  return 1;
}
""",
    ),
    "lua": (
        "helper step",
        """
local function outer()
  local function helper(a)
    return a
  end
  function self.step(b)
  end
  call(function(x) end)
end
""",
    ),
    "php": (
        "handle helper",
        """<?php
function outer() {
    $a = new class extends Base {
        public function handle($b) {
            return 1;
        }
    };
    function helper() {
    }
    return call(function ($x) { });
}
""",
    ),
    "elixir": (
        "child_spec start",
        """
defmodule Box do
  defmacro outer(_) do
    quote do
      def child_spec(arg) do
        arg
      end
      defp start, do: 1
    end
  end
end
""",
    ),
    "shell": (
        "is_box open-it::lid",
        """
outer() {
    # made_up() {
    is_box() {
        [ "$1" ]
    }
    call "$(made)" && run() || true
    function open-it::lid {
        is_box
    }
    helper "()" {}
}
""",
    ),
    "go": (
        "seen",
        """
package a

func outer() {
	type seen struct {
		a int
	}
	go func(a int) {}(1)
}
""",
    ),
}  # fmt: skip


def test_a_generic_type_is_what_a_function_makes() -> None:
    text = """pub fn Box(
    comptime T: type,
) type {
    return struct {
        const Self = @This();
        items: []T,

        pub fn open(self: *Self) void {
            const Local = struct {
                fn inner() void {}
            };
        }
    };
}

fn lid(comptime T: type) T {
    fn_made();
}

pub fn Vec(comptime T: type) type {
    return [4]T;
}

extern fn CreateFile(name: u8) bool;

pub fn WriteFile(name: u8) bool {
    const local = 1;
    return name == local;
}
"""
    found = outline("zig", text)
    spans = [(each.name, each.kind, each.start, each.end) for each in found.definitions]
    assert spans == [
        ("Box", "struct", 0, 14),
        ("Box.Self", "constant", 4, 5),
        ("Box.open", "method", 7, 12),
        ("lid", "function", 15, 18),
        ("Vec", "struct", 19, 22),
        ("CreateFile", "function", 23, 24),
        ("WriteFile", "function", 25, 29),
    ]
    assert {f"{INNER}Local", f"{INNER}inner"} <= {name for _, name in found.names}


def test_a_friend_with_a_body_is_defined_where_it_stands() -> None:
    text = "class Box {\n  friend class Lid;\n"
    text += "  friend bool same(Box a, Box b) {\n    return true;\n  }\n"
    found = outline("cpp", text + "  friend void shown(Box a);\n};\n").definitions
    assert [(each.name, each.start, each.end) for each in found] == [
        ("Box", 0, 7),
        ("Box.same", 2, 5),
    ]


@pytest.mark.parametrize(
    "around",
    [
        "(function ($) {|})(jQuery);",
        ";(function () {|}).call(this);",
        "!function (root) {|}(window);",
        "(async () => {|})();",
        "(function (root, factory) {|  root.box = factory();|}(this, function () {|}));",
        "define(['a', 'b'], function (a, b) {|});",
        "define('box', function (require) {|});",
        "require(['a'], (a) => {|});",
        "$(document).ready(function () {|});",
        "$(function () {|});",
        "jQuery(function ($) {|});",
    ],
)
def test_what_a_wrapper_holds_is_defined_as_in_a_file_of_its_own(around: str) -> None:
    own = """  'use strict';
  var LIMIT = 10;
  function open(a) {
    function inner() {}
    return a;
  }
  Box.prototype.close = function (b) {
    return b;
  };
  const lock = async (c) => {
    return c;
  };
"""
    *before, after = around.split("|")
    text = "\n".join([*before, own + after, ""])
    found = {each.name: each.kind for each in outline("javascript", text).definitions}
    wanted = {"LIMIT": "variable", "open": "function", "Box.close": "method", "lock": "function"}
    assert {name: found.get(name) for name in wanted} == wanted
    assert found.keys() - wanted <= {"box", "root.box"}


@pytest.mark.parametrize("head", ["const keys = {", "module.exports = {", "export default {"])
def test_keys_of_an_object_are_names_that_are_asked_for_less(head: str) -> None:
    text = f"""{head}
  kOpen: Symbol('open'),
  kClosed: made(
    inner: 1
  ),
  MAX_SIZE: 10,
  close: close,
  lid: box.lid,
  short,
  turn() {{
  }},
}};
"""
    defined = {name for _, name in outline("javascript", text).names}
    assert {each for each in defined if each.startswith(INNER)} == {
        f"{INNER}{key}" for key in ("kOpen", "kClosed", "MAX_SIZE")
    }
    assert "turn" in defined


@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_what_is_assigned_to_a_part_of_something_is_called_after_both(language: str) -> None:
    text = """
exports.SIZE = 42
exports.lid = lid
module.exports.open = async (a) => {
}
exports.late = void 0
Box.KINDS = {
  small: 1,
}
Box.limit = makeLimit(3)
Box.Lid = class {
  turn() {
  }
}
Box.other = other.name
box.state = made(1)
Box.prototype = {
  lift: function () {
  },
  drop () {
  }
}
Object.assign(Box.Lid.prototype, {
  shut() {
  }
})
"""
    found = outline(language, text)
    assert [f"{each.kind} {each.name}" for each in found.definitions] == [
        "constant SIZE",
        "function open",
        "constant Box.KINDS",
        "constant Box.limit",
        "class Box.Lid",
        "method Box.Lid.turn",
        "method Box.lift",
        "method Box.drop",
        "method Box.Lid.shut",
    ]
    assert [name for _, name in found.names if name.startswith(INNER)] == [f"{INNER}small"]
    assert _defined(language, text)[-2:] == [f"{OWNER}Box", f"{OWNER}Lid"]


def test_an_attribute_that_is_given_to_something_else_is_a_name_that_is_asked_for_less() -> None:
    text = "import box\n\nbox.limit = 3\nBox.lift = lambda box: box.n\nbox[0].n, self.a.b = 1, 2\n"
    assert _defined("python", text) == [
        *(f"{INNER}limit", f"{OWNER}box", f"{INNER}lift", f"{OWNER}Box"),
    ]


@pytest.mark.parametrize("language", ["vue", "svelte", "astro"])
def test_the_scripts_of_a_component_are_outlined_among_its_markup(language: str) -> None:
    text = """---
const title: string = 'Box';
---
<template>
  <div :class="open ? 'a' : 'b'" @click="close()">{{ title }}</div>
  {#if open}<p on:click={close}>{open}</p>{/if}
</template>

<script setup lang="ts">
import Lid from './Lid.vue'

interface Props {
  lid: string
}

const open = ref(false)

function close(a: number) {
  return a
}
</script>

<style>
.box { color: red; }
</style>
"""
    found = outline(language, text).definitions
    assert {each.name for each in found} >= {"Props", "open", "close"}
    assert {each.name for each in found} <= {"title", "Props", "Props.lid", "open", "close"}


def test_what_is_written_in_another_language_has_its_outline() -> None:
    assert set(WRITTEN_IN.values()) <= OUTLINED
    text = "def _box_impl(ctx):\n    return 1\n\nbox = rule(implementation = _box_impl)\n"
    found = outline("starlark", text)
    assert [each.name for each in found.definitions] == ["_box_impl"]
    assert {name for _, name in found.names} == {"_box_impl", "box"}


@pytest.mark.parametrize("head", ["describe('a box', function () {", "it('opens', () => {"])
def test_a_call_that_wraps_nothing_but_steps_defines_none_of_its_variables(head: str) -> None:
    text = f"{head}\n  const box = make();\n  box.open = function () {{\n  }};\n}});\n"
    assert outline("javascript", text).definitions == []


def test_the_methods_of_a_component_are_in_the_objects_that_it_is_made_of() -> None:
    text = """export default {
  name: 'box',
  data() {
    return { a: 1 };
  },
  computed: {
    size() {
      return 1;
    },
  },
  methods: {
    async open(a) {
      const b = { load() {} };
    },
    close: function (a) {
    },
  },
  watch: { a() {} },
};
"""
    found = outline("javascript", text).definitions
    assert [each.name for each in found] == ["data", "size", "open", "close"]


@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_a_method_may_be_called_as_what_begins_a_statement(language: str) -> None:
    names = ["delete", "import", "require", "get", "static", "of"]
    for holder in ("class Box {", "export const box = {"):
        body = "".join(
            f"  {name}(a) {{\n    return a;\n  }}{',' * (holder[-2] == '=')}\n" for name in names
        )
        found = outline(language, f"{holder}\n{body}}}\n").definitions
        assert [each.name.rpartition(".")[2] for each in found][1:] == names


@pytest.mark.parametrize("language", WITHIN)
def test_what_a_function_defines_within_it_is_defined_where_it_stands(language: str) -> None:
    names, text = WITHIN[language]
    defined = {name: line for line, name in outline(language, text).names}
    within = {name for name in defined if not name.startswith(OWNER)} - {"outer", "Box"}
    assert within == {INNER + name for name in names.split()}
    lines = text.split("\n")
    assert all(name.removeprefix(INNER) in lines[defined[name]] for name in within)
    assert INNER + names.split()[0] in _defined(language, text)


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        ("php", "function a() {|  return $b &&|    function_exists('x');|}|", ["a"]),
        ("php", "function a() {|    functionName($z);|}|", ["a"]),
        ("java", "class A {|  void a() {|    /*|    class of things|    */|  }|}|", ["A", "a"]),
        ("cpp", "int a() {|    /*|    using a = b|    */|  f();|}|", ["a"]),
        ("lua", "function a()|  --[[|  function gone()|  ]]|end|", ["a"]),
        ("elixir", 'defmodule A do|  def a do|  """|  def in doc|  """|  end|end|', ["A", "a"]),
        ("elixir", "defmodule A do|  def a do|    def unquote(b)(), do: 1|  end|end|", ["A", "a"]),
        ("typescript", 'namespace A {|  import("x").then(() => {|  });|}|', ["A"]),
        ("javascript", 'class B {|  z =|  import("q");|}|', ["B", "z"]),
        ("javascript", "class B {|  m() {|  delete(this.y);|  require('q');|  }|}|", ["B", "m"]),
        ("cpp", "#ifndef A|#define A|class B {|  friend B make(int);|};|#endif|", ["A", "B"]),
        ("cpp", "class A {| public:  // types|  using T = int;|};|", ["A", "T"]),
    ],
)  # fmt: skip
def test_no_call_comment_or_declaration_is_a_definition(
    language: str, text: str, names: list[str]
) -> None:
    found = outline(language, text.replace("|", "\n"))
    assert [name for _, name in found.names] == names


@pytest.mark.parametrize("language", ["java", "javascript", "csharp", "swift", "c"])
def test_a_body_may_be_indented_by_other_signs_than_its_head(language: str) -> None:
    kind = {"javascript": "", "swift": "func "}.get(language, "void ")
    around = "%s" if language == "c" else "class A {\n%s}\n"
    lead = "" if language == "c" else "\t"
    text = f"{lead}{kind}m() {{\n    int x = 3;\n    foo(a);\n\t\ty();\n{lead}}}\n"
    text += f"{lead}{kind}n() {{\n{lead}}}\n"
    found = outline(language, around % text).definitions
    first = 0 if language == "c" else 1
    assert [(each.name.rpartition(".")[2], each.start, each.end) for each in found][first:] == [
        ("m", first, first + 5),
        ("n", first + 5, first + 7),
    ]


@pytest.mark.parametrize(
    ("language", "text", "name"),
    [
        ("cpp", "template <typename T> class RingStack {\n  T top();\n};\n", "RingStack"),
        ("cpp", "template <typename T>\nclass RingStack {\n  T top();\n};\n", "RingStack"),
        ("cpp", "template <class T> T biggest(T a, T b) {\n  return a;\n}\n", "biggest"),
        ("c", "static __attribute__((noinline)) int flush(int n)\n{\n  return n;\n}\n", "flush"),
        ("python", "match 1:\n    case 1:\n        def run():\n            pass\n", "run"),
    ],
)  # fmt: skip
def test_what_stands_before_a_definition_hides_it_not(language: str, text: str, name: str) -> None:
    assert name in _defined(language, text)


def test_a_large_file_with_an_f_string_of_many_lines_is_cut_without_a_parser() -> None:
    rest = "\n\ndef run():\n    pass\n"
    text = "x = f'''" + "{a} b\n" * 60_000 + "'''" + rest
    began = time.process_time()
    assert outline_of("python", text, text.split("\n")) is None
    assert time.process_time() - began < 0.2
    small = "x = f'''{a}\n'''" + rest
    assert outline_of("python", small, small.split("\n")) is not None


def test_a_file_with_other_line_ends_is_cut_at_the_same_places() -> None:
    text = "".join(f"block{n} {{\n" + "  x\n" * 9 + "}\n" for n in range(30))
    places = [(piece.line_start, piece.line_end) for piece in chunk(text, "text")]
    other = [(c.line_start, c.line_end) for c in chunk(text.replace("\n", "\r\n"), "text")]
    assert other == places


def test_a_type_has_the_name_behind_it_too() -> None:
    text = "typedef struct redisObject {\n    int refcount;\n} robj;\n\nint count = 1;\n"
    assert _defined("c", text) == ["redisObject", "refcount", "robj", "count"]
    assert _defined("c", "struct box {\n    int a;\n};\n") == ["box", "a"]


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_line_ends_change_no_outline(language: str) -> None:
    text = SAMPLES[language].text.lstrip("\n")
    assert outline(language, text.replace("\n", "\r\n")) == outline(language, text)


def named(chunks: list[Chunk], name: str) -> list[Chunk]:
    return [piece for piece in chunks if {name, INNER + name} & {*piece.defines}]


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_each_name_is_defined_by_the_one_piece_that_has_its_line(language: str) -> None:
    text = SAMPLES[language].text.lstrip("\n")
    chunks = chunk(text, language)
    for line, name in outline(language, text).names:
        if name.startswith(OWNER):  # as it qualifies the name before it
            continue
        assert [p for p in named(chunks, name) if p.line_start <= line + 1 <= p.line_end], name


#: A definition of `ParseConfig`, or what the language would call it, as a file has it.
DEFINED = {
    "c": "int\nParseConfig(const char *path)\n{\n    return 0;\n}\n",
    "cmake": "function(ParseConfig path)\n  foo()\nendfunction()\n",
    "dockerfile": "FROM a AS ParseConfig\nRUN b\n",
    "graphql": "type ParseConfig {\n  path: String\n}\n",
    "hcl": 'resource "a" "ParseConfig" {\n  b = 1\n}\n',
    "makefile": "ParseConfig: a.c\n\tcc a.c\n",
    "protobuf": "message ParseConfig {\n  string path = 1;\n}\n",
    "cpp": "Config Loader::ParseConfig(const std::string& path) {\n  return {};\n}\n",
    "csharp": "namespace A\n{\n    class B\n    {\n        int ParseConfig(int p) => 1;\n    }\n}",
    "elixir": "defmodule A do\n  def ParseConfig(path) do\n    path\n  end\nend\n",
    "go": "package lib\n\nfunc ParseConfig(path string) error {\n\treturn nil\n}\n",
    "haskell": "module A where\n\ndata ParseConfig = ParseConfig\n  deriving Show\n",
    "java": "class A {\n    Config ParseConfig(String path) {\n        return null;\n    }\n}\n",
    "javascript": "export const ParseConfig = async (path) => {\n  return path;\n};\n",
    "kotlin": "fun ParseConfig(path: String): Config {\n    return Config(path)\n}\n",
    "lua": "local M = {}\nfunction M.ParseConfig(path)\n  return path\nend\nreturn M\n",
    "markdown": "# Notes\n\nText.\n\n## ParseConfig\n\nMore.\n",
    "perl": "package A::B;\nuse strict;\n\nsub ParseConfig {\n    my ($path) = @_;\n}\n1;\n",
    "php": "<?php\nfunction ParseConfig(string $path): array\n{\n    return [];\n}\n",
    "python": "import os\n\nParseConfig = os.environ\n",
    "ruby": "module A\n  def self.ParseConfig(path)\n    path\n  end\nend\n",
    "rust": "pub fn ParseConfig(path: &str) -> u32 {\n    1\n}\n",
    "scala": "object A {\n  def ParseConfig(path: String): Int = {\n    1\n  }\n}\n",
    "shell": "#!/bin/sh\nParseConfig() {\n  echo\n}\n",
    "sql": "CREATE TABLE ParseConfig (\n  id INT\n);\n",
    "swift": "func ParseConfig(path: String) -> Int {\n    return 1\n}\n",
    "typescript": "export interface ParseConfig {\n  path: string;\n}\n",
    "zig": "pub fn ParseConfig(path: []const u8) u32 {\n    return 1;\n}\n",
}
#: Constants, types and macros are defined, too.
ALSO_DEFINED = {
    "c": "#include <a.h>\n#define ParseConfig(x) \\\n    ((x) + 1)\n",
    "cpp": "enum class Kind {\n  ParseConfig,\n  Other,\n};\n",
    "csharp": "class A\n{\n    public const int ParseConfig = 3;\n}\n",
    "elixir": "defmodule A do\n  defmacro ParseConfig(x) do\n    x\n  end\nend\n",
    "go": "package lib\n\nconst (\n\tOther = iota\n\tParseConfig\n)\n",
    "haskell": "type ParseConfig = Int\n",
    "java": "enum A {\n    OTHER,\n    ParseConfig(1),\n}\n",
    "javascript": "const ParseConfig = 3;\n",
    "kotlin": "const val ParseConfig = 3\n",
    "lua": "local ParseConfig = 3\n",
    "markdown": "ParseConfig\n===========\n\nText.\n",
    "perl": "use constant {\n    Other => 1,\n    ParseConfig => 2,\n};\n",
    "php": "<?php\ndefine('ParseConfig', 3);\n",
    "ruby": "class A\n  ParseConfig = %w(a b).freeze\nend\n",
    "rust": "macro_rules! ParseConfig {\n    () => {};\n}\n",
    "scala": "trait A {\n  type ParseConfig = Int\n}\n",
    "shell": "ParseConfig=3\n",
    "sql": "create or replace function app.ParseConfig() returns int as $$ select 1; $$;\n",
    "swift": "enum A {\n    case ParseConfig\n}\n",
    "typescript": "export type ParseConfig = string | number;\n",
    "zig": "const ParseConfig = error{A};\n",
}


@pytest.mark.parametrize(("language", "text"), [*DEFINED.items(), *ALSO_DEFINED.items()])
def test_a_name_is_defined_where_it_is_defined_in_every_language(language: str, text: str) -> None:
    """The file that defines `ParseConfig` among twenty that use it: one of its pieces says so."""
    assert len(named(chunk(text, language), "ParseConfig")) == 1


#: What has nothing that is like a function, and calls nothing.
CONFIGURING = ("cmake", "dockerfile", "graphql", "hcl", "makefile", "protobuf")
USES = [
    "    x = ParseConfig(y);\n",
    "    return ParseConfig;\n",
    "    foo.ParseConfig()\n",
    "    if (ParseConfig(a)) {\n    }\n",
    "// ParseConfig() is called here\n",
    "    # ParseConfig(a)\n",
    '    "ParseConfig(",\n',
]


@pytest.mark.parametrize(
    "language", sorted({*DEFINED} - {*CONFIGURING, "python", "haskell", "markdown"})
)
def test_no_use_of_a_name_in_a_function_is_a_definition_of_it(language: str) -> None:
    text = SAMPLES[language].text.lstrip("\n")
    lines = text.split("\n")
    function = next(
        each
        for each in outline(language, text).definitions
        if each.kind in ("function", "method", "heading") and each.end - each.start > 2
    )
    for use in USES:
        put = [*lines[: function.end - 1], use.rstrip("\n"), *lines[function.end - 1 :]]
        assert named(chunk("\n".join(put), language), "ParseConfig") == [], use


GUARDED = """\
/* A licence. */
#ifndef A_H
#define A_H
#include <stddef.h>

struct plan *parse_config(const char *path,
                          int flags);
EXPORT_SYMBOL(parse_config);
static inline int twice(int x)
{
    return call_it(x);
}

class Reader {
 public:
  Reader();
  Status ReadAll(std::string* to) const;
};
#endif
"""


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_header_declares_its_prototypes_and_nothing_else_does(language: str) -> None:
    declared = {"parse_config", "ReadAll"}
    names = set(_defined(language, GUARDED))
    assert names == declared | {"A_H", "twice", "Reader"}
    for text in (GUARDED.replace("#define A_H", "#define B_H"), GUARDED.replace("#ifndef", "//")):
        assert not declared & set(_defined(language, text)), text
    once = GUARDED.replace("#ifndef A_H", "#pragma once")
    assert declared <= set(_defined(language, once))


# Any text


def assert_sound(text: str, chunks: list[Chunk]) -> None:
    """No line is lost, no piece is too long, and each is lines of the text, in order."""
    lines = text.split("\n")
    met: set[int] = set()
    for piece in chunks:
        assert 1 <= piece.line_start <= piece.line_end <= len(lines)
        assert len(piece.text) <= MAX_CHARS
        met.update(range(piece.line_start, piece.line_end + 1))
        own = "\n".join(lines[piece.line_start - 1 : piece.line_end])
        assert own.endswith(piece.text) or len(own) > MAX_LINE_CHARS
        assert piece.kind in KINDS
        assert all(name and "\n" not in name for name in piece.defines)
    assert {number for number, line in enumerate(lines, 1) if line.strip()} <= met
    assert all(one.line_start <= other.line_start for one, other in pairwise(chunks))
    assert len(chunks) <= max(MAX_PIECES, 2 * len(text) // MAX_LINE_CHARS + 1)


LANGUAGES = sorted(SAMPLES)
PARTS = sorted({line for sample in SAMPLES.values() for line in sample.text.split("\n")})
LINES = st.sampled_from(
    [
        *PARTS,
        "{",
        "}",
        "(",
        ")",
        "/*",
        "*/",
        '"""',
        "```",
        "\0",
        "\r",
        "e\u0301",
        "\ud800",
        "\t" * 9,
    ]
) | st.text(st.characters(exclude_characters="\n"), max_size=20)


@pytest.mark.promise("QRY-1")
@settings(deadline=None)
@given(st.lists(LINES, max_size=60), st.sampled_from(LANGUAGES), st.sampled_from(["\n", "\r\n"]))
def test_no_text_loses_a_line_whatever_language_it_is_said_to_be(
    lines: list[str], language: str, newline: str
) -> None:
    text = newline.join(lines)
    assert_sound(text, chunk(text, language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_syntax_error_never_loses_text(language: str) -> None:
    """A file as it is while somebody types: cut off, a bracket too many, a line gone."""
    text = SAMPLES[language].text.lstrip("\n")
    lines = text.split("\n")
    for cut in range(0, len(text), 11):
        assert_sound(text[:cut], chunk(text[:cut], language))
    for place in range(len(lines)):
        for put in ([], ["}"], ["{{{ ((("], ["/*"], ['"""'], ["'"], ["end"]):
            broken = "\n".join([*lines[:place], *put, *lines[place + 1 :]])
            assert_sound(broken, chunk(broken, language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_definition_is_found_below_a_syntax_error(language: str) -> None:
    if language == "python":
        return  # its parser takes the whole file, or nothing
    text = "foo(((\n\n" + DEFINED[language]
    assert named(chunk(text, language), "ParseConfig")


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_hostile_shapes_take_time_that_is_linear_in_them(language: str) -> None:
    """Twice as much takes about twice as long: ten times would be a square."""
    random.seed(1)
    sample = SAMPLES[language].text
    heads = [line for line in sample.split("\n") if line.strip()]
    shapes: dict[str, Callable[[int], str]] = {
        "depth in a line": lambda n: "(" * n,
        "depth in lines": lambda n: "{\n" * (n // 2),
        "indented ever more": lambda n: "\n".join(" " * k + "{" for k in range(int(n**0.5))),
        "heads": lambda n: "\n".join(heads[0] for _ in range(n // len(heads[0]))),
        "ends of comments": lambda n: "*/\n" * (n // 3),
        "begun comments": lambda n: "/*\n" * (n // 3),
        "sample": lambda n: sample * (n // len(sample)),
        "any lines": lambda n: "\n".join(random.choice(heads) for _ in range(n // 20)),
        "words": lambda n: "a " * (n // 2),
        "lines of words": lambda n: ("a " * 200 + "\n") * (n // 401),
    }
    for name, make in shapes.items():
        taken = []
        for size in (20_000, 80_000):
            text = make(size)
            began = time.process_time()
            chunks = chunk(text, language)
            taken.append(time.process_time() - began)
            assert chunks or not text.strip()
        assert taken[1] < 10 * taken[0] + 0.1, name
        assert taken[1] < 2, name


@pytest.mark.parametrize(
    ("language", "block", "definition"),
    [
        ("perl", "=head1 x\n=cut\n\n", "sub f {\n1;\n}\n"),
        ("perl", "=cut\n", "sub f {\n1;\n}\n"),
        ("c", "/* x\n*/\n", "int f(void)\n{\n}\n"),
        ("lua", "--[=[ x\n]]\n]=]\n", "function f()\nend\n"),
        ("elixir", '@doc """\n"""\n', "def f do\nend\n"),
    ],
)
def test_however_many_comments_stand_above_a_definition_each_is_looked_at_once(
    language: str, block: str, definition: str
) -> None:
    taken = []
    for times in (1_000, 4_000):
        lines = (block * times + definition).split("\n")
        began = time.process_time()
        outline_of(language, "", lines)
        taken.append(time.process_time() - began)
    assert taken[1] < 8 * taken[0] + 0.05


HEREDOCS = [
    ("perl", "print <<EOT;|=pod|sub no {|EOT|sub real {|  1;|}|", "real 5-7"),
    ("perl", 'sub f {|  print <<"A B", 1;|=pod|}|A B|}|sub g {|  1;|}|', "f 1-6, g 7-9"),
    ("perl", "my $x = 1 <<EOT;|sub f {|  1;|}|", "x 1-1, f 2-4"),
    ("perl", "# <<EOT|sub f {|  1; # <<EOT|}|EOT|", "f 1-4"),
    ("dockerfile", "FROM x AS a|RUN <<EOF|FROM y|EOF|FROM z AS b|RUN c|", "a 1-4, b 5-6"),
    ("dockerfile", "FROM x AS a|RUN <<A <<-'B'|FROM y|A|FROM y|B|FROM z AS b|", "a 1-6, b 7-7"),
    ("shell", "f() {|cat <<EOF|}|g() {|EOF|}|h() {|  x|}|", "f 1-6, h 7-9"),
    ("ruby", "def f|  x <<~EOT|def g|=begin|  EOT|end|def h|end|", "f 1-6, h 7-8"),
    ("hcl", 'resource "a" "b" {|x = <<-EOT|}|module "m" {|  EOT|}|', "a.b 1-6"),
]


@pytest.mark.parametrize(("language", "text", "definitions"), HEREDOCS)
def test_a_text_within_code_defines_and_ends_nothing(
    language: str, text: str, definitions: str
) -> None:
    found = outline(language, text.replace("|", "\n")).definitions
    assert definitions == ", ".join(f"{e.name} {e.start + 1}-{e.end}" for e in found)


@pytest.mark.parametrize("text", ["print <<A%d;\n", "print <<A;\n", "<<A <<B <<A;\nB\n", '<<"'])
def test_texts_that_do_not_end_are_looked_for_once(text: str) -> None:
    taken = []
    for times in (5_000, 20_000):
        lines = [*"".join(text.replace("%d", str(n)) for n in range(times)).split("\n"), "A"]
        began = time.process_time()
        outline_of("perl", "", lines)
        taken.append(time.process_time() - began)
    assert taken[1] < 8 * taken[0] + 0.05


def test_no_comment_begins_before_the_end_of_another_one() -> None:
    text = "=pod\n\nOf x.\n\n=cut\n\n1;\n\n%s=cut\n\nsub f {\n    1;\n}\n"
    (own,) = outline("perl", text % "=head1 Of f\n\n=over\n\n=back\n\n").definitions
    assert (own.start, own.end) == (8, 19)
    (own,) = outline("perl", text % "").definitions
    assert own.start == 9


@pytest.mark.parametrize("opening", ["(", "{", "[", "<", "{\n", "if (x) {\n", "class A {\n"])
@pytest.mark.parametrize("language", ["c", "haskell", "javascript", "markdown", "ruby", "rust"])
def test_depth_without_end_is_cut_somehow(opening: str, language: str) -> None:
    text = opening * (100_000 if len(opening) == 1 else 10_000)
    chunks = chunk(text, language)
    assert {n for p in chunks for n in (p.line_start, p.line_end)} >= {1}
    assert all(len(piece.text) <= MAX_CHARS for piece in chunks)


def test_what_lies_deeper_than_any_code_is_not_looked_at() -> None:
    text = "".join(f"{' ' * depth}class A {{\n" for depth in range(200))
    deepest = max(outline("java", text).definitions, key=lambda each: each.name.count("."))
    assert deepest.name.count(".") == 31
    assert_sound(text, chunk(text, "java"))


def test_only_the_beginning_of_a_line_is_looked_at_for_a_head() -> None:
    for times, names in ((30, ["foo"]), (60, [])):
        text = f"{'static ' * times}int foo(void) {{\n}}\n"
        assert [name for _, name in outline("c", text).names] == names


UNITS = (
    "a |a::|a<|<a>|@a |@a(|a, |(|[|* |public |struct |static |template<a> |const |a.|a = |=> |() |"
    "{}|a(|a[] |#[a] |'|, a|a:|type |<|>|a> |export |async |( a|(a) |a  |a * |<a> a<|[[a]] |Foo::|"
    "__attribute__((a)) |CREATE |GLOBAL |@(|=|a<b, |(a)=|unsafe |[a](|![|&a|a::b |"
    "a::b::c::d |a::b<c> |[[a]]b |a::b<c>::d "
).split("|")


@pytest.mark.parametrize("language", sorted(OUTLINED - {"python", "markdown"}))
def test_no_pattern_takes_long_for_a_line_that_almost_matches(language: str) -> None:
    """A repetition that can match one text in many ways tries all of them: for 120 characters,
    thousands of years."""
    syntax = syntax_of(language)
    assert syntax is not None
    members = [rule.members for rule in syntax.rules if rule.members is not None]
    patterns = [any_of(syntax.rules), syntax.above, syntax.more, *members]
    began = time.process_time()
    for head in ("", "const ", "a = (", "impl<", "template <", "public a ", "@A("):
        for unit in UNITS:
            line = (head + unit * 60)[:120].strip()
            for pattern in patterns:
                pattern.match(line)
    assert time.process_time() - began < 2


#: Heads that come to nothing, with two blanks, or two letters, where there may be many.
BLANKS = [
    ("c", "enum a:  ?"),
    ("c", "enum  a  :  ?"),
    ("cpp", "template  <  class  a  class  b  :  ?"),
    ("csharp", "public  delegate  a  b  ?"),
    ("cuda", "static  enum  class  A  :  a  ?"),
    ("dockerfile", "FROM  --a  b  AS  ?"),
    ("go", "func  (  a  *  b  c  ?"),
    ("go", "func (  aa?"),
    ("hcl", "resource  a  b  ?"),
    ("java", "public  static  a  b  (  ?"),
    ("javascript", "static  async  *  a  ?"),
    ("javascript", "module.exports  =  a  =  ?"),
    ("makefile", "a  b  c  ?"),
    ("perl", "use  constant  :a  {  ?"),
    ("protobuf", "message  a  ?"),
    ("rust", "unsafe  impl  &  a  for  b  ?"),
    ("typescript", "declare  readonly  a  !  ?"),
    ("zig", "pub  const  a  =  packed  ?"),
]


@pytest.mark.parametrize(("language", "head"), BLANKS)
def test_no_pattern_tries_all_ways_to_share_out_blanks(language: str, head: str) -> None:
    """Four times as long: sixteen times would be a square, and 64 times are a cube."""
    syntax = syntax_of(language)
    assert syntax is not None
    heads = any_of(syntax.rules)
    taken = []
    for width in (70, 280):
        many = width // (head.count("  ") + head.count("aa"))
        line = head.replace("  ", " " * many).replace("aa", "a" * many)
        began = time.process_time()
        for _ in range(100):
            heads.match(line)
        taken.append(time.process_time() - began)
    assert taken[1] < 24 * taken[0] + 0.05


def test_a_long_definition_is_cut_into_windows_that_all_have_its_name() -> None:
    body = "".join(f"\tx{n} := {n}\n" for n in range(3 * MAX_LINES))
    chunks = chunk(f"package a\n\nfunc (s *S) Run() {{\n{body}}}\n", "go")
    windows = [piece for piece in chunks if piece.name == "S.Run"]
    assert len(windows) > 3
    assert [piece.defines for piece in windows] == [("Run",)] + [()] * (len(windows) - 1)


def test_small_neighbours_are_one_piece_and_it_defines_all_of_them() -> None:
    """A header of two hundred constants, and a class of sixty getters."""
    header = "".join(f"#define NAME_{n} {n}\n" for n in range(200))
    chunks = chunk(header, "c")
    assert len(chunks) < 12
    assert sum(len(piece.defines) for piece in chunks) == 200
    getters = "".join(f"    int getX{n}() {{\n        return x{n};\n    }}\n\n" for n in range(59))
    chunks = chunk(f"public class A {{\n{getters}}}\n", "java")
    assert len(chunks) < 15
    assert chunks[0].name == chunks[1].name == "A"
    assert {name for piece in chunks for name in piece.defines} == {
        "A", *(f"getX{n}" for n in range(59)),
    }  # fmt: skip


def test_in_a_small_file_each_function_is_a_piece_with_its_name_and_kind() -> None:
    text = dedent("""\
        package server

        // Server serves.
        type Server struct {
        \tname string
        }

        // Start begins it.
        func (s *Server) Start() error {
        \treturn nil
        }

        func New() *Server {
        \treturn nil
        }
    """)
    assert [(p.name, p.kind, p.line_start, p.line_end) for p in chunk(text, "go")] == [
        ("", "", 1, 1),
        ("Server", "struct", 3, 6),
        ("Server.Start", "method", 8, 11),
        ("New", "function", 13, 15),
    ]


def test_a_section_is_called_after_its_heading_and_those_above_it() -> None:
    text = "# Guide\n\nIntro.\n\n## Set up: *fast*\n\n" + "Text.\n" * 20 + "\n```sh\n# no\n```\n"
    chunks = chunk(text, "markdown")
    assert [(p.name, p.kind, p.defines) for p in chunks] == [
        ("Guide", "heading", ("Guide",)),
        ("Guide > Set up: fast", "heading", ("Set up: fast",)),
    ]
