;; Scores row 0 with the number of values behind the last row, in column 0 and in the scores, that are not NaN.
(module
  (memory (export "memory") 1)
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024))
  (func $count (param $at i32) (param $end i32) (result i32)
    (local $n i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $n (i32.add (local.get $n)
          (f64.eq (f64.load (i32.add (i32.const 1024) (local.get $at))) (f64.load (i32.add (i32.const 1024) (local.get $at))))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))
    (local.get $n))
  (func (export "chaperone_score") (param $rows i32) (result i32)
    (local $skip i32) (local $all i32)
    (local.set $skip (i32.shl (local.get $rows) (i32.const 3)))
    (local.set $all (i32.shl (i32.load (i32.const 1032)) (i32.const 3)))
    (f64.store (i32.add (i32.const 1024) (i32.load (i32.const 1048)))
      (f64.convert_i32_u (i32.add
        (call $count (i32.add (i32.load (i32.const 1040)) (local.get $skip)) (i32.add (i32.load (i32.const 1040)) (local.get $all)))
        (call $count (i32.add (i32.load (i32.const 1048)) (local.get $skip)) (i32.add (i32.load (i32.const 1048)) (local.get $all))))))
    (i32.const 0)))
