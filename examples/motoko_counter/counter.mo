import Map "mo:core/Map";
import Text "mo:core/Text";

persistent actor Counter {
  let most = 100;
  var value : Nat = 0;
  let names = Map.empty<Text, Nat>();
  transient var calls : Nat = 0; // back to 0 with each upgrade

  public func inc() : async Nat {
    value += 1;
    calls += 1;
    value
  };

  // Writes first and checks after: where it traps, the platform undoes what it wrote.
  public func incAs(name : Text, times : Nat) : async Nat {
    let before = switch (names.get(Text.compare, name)) { case null 0; case (?n) n };
    names.add(Text.compare, name, before + times);
    value += times;
    assert value <= most;
    value
  };

  public query func get() : async Nat { value };
  public query func by(name : Text) : async ?Nat { names.get(Text.compare, name) };
  public query func callsSinceUpgrade() : async Nat { calls };
}
