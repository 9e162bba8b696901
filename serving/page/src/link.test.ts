import { expect, test } from "vitest";
import { list, put, read, write } from "./link";

test("a place survives its own address", () => {
  const params = new URLSearchParams({ gpu: "h200_sxm", "sweep.values": "a,b", odd: "1 & 2=3#" });
  const hash = write({ task: "gemm", view: "sweep", params });
  const place = read(hash);
  expect([place.task, place.view]).toEqual(["gemm", "sweep"]);
  expect([...place.params]).toEqual([...params]);
  expect(hash).toContain("sweep.values=a,b");
});

test("anything may stand in an address", () => {
  expect(read("")).toMatchObject({ task: "", view: "" });
  expect(read("#gemm")).toMatchObject({ task: "gemm", view: "" });
  expect(read("#%E0%A4%A/x?%").task).toBe("%E0%A4%A");
  expect(read("#/gemm/predict?m=1").params.get("m")).toBe("1");
});

test("lists are absent, empty or full", () => {
  const params = new URLSearchParams("a=&b=x,,y");
  expect(list(params, "none")).toBeNull();
  expect(list(params, "a")).toEqual([]);
  expect(list(params, "b")).toEqual(["x", "y"]);
});

test("nothing to say leaves nothing in the address", () => {
  const params = new URLSearchParams("a=1&b=2");
  put(params, "a", "");
  put(params, "b", null);
  put(params, "c", "3");
  expect(params.toString()).toBe("c=3");
});
